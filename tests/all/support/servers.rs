//! Servers that a test has for itself: PgBouncer before the common cluster, a primary with standbys, a server with TLS.

use std::path::PathBuf;

use super::postgres::Session;
use super::script::Script;
use super::skip::skip;

/// Starts a script, or notes the running test as skipped.
fn start(name: &str, arguments: &[&str]) -> Option<(Script, String)> {
    Script::start(name, arguments).inspect_err(|reason| skip(reason)).ok()
}

/// PgBouncer on the loopback address.
pub struct Bouncer {
    port: String,
    _script: Script,
}

impl Bouncer {
    /// Before the server of this URL, in transaction mode with the defaults of Debian's `pgbouncer.ini` but for what
    /// `more` says. `users` are the lines of its `auth_file`.
    pub fn before(server_url: &str, more: &str, users: &str) -> Option<Self> {
        let server = url::Url::parse(server_url).expect("the server's URL is one");
        let (host, port) = (server.host_str().expect("a host"), server.port().expect("a port"));
        let ini = format!(
            "[databases]\n* = host={host} port={port}\n[pgbouncer]\nauth_type = scram-sha-256\npool_mode = transaction\n{more}"
        );
        Self::of(&ini, users)
    }

    /// With this text of `pgbouncer.ini`, whose last section is `[pgbouncer]`; addresses and files are a test's own.
    pub fn of(ini: &str, users: &str) -> Option<Self> {
        let (script, port) = start("pgbouncer.sh", &[ini, users])?;
        Some(Self { port, _script: script })
    }

    /// The URL of a database through it.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

/// A server that nobody else connects to, so that its connections can be counted.
pub struct Alone {
    _script: Script,
    /// URL of its database `postgres`, as the superuser.
    pub url: String,
}

impl Alone {
    /// Starts it.
    pub fn start() -> Option<Self> {
        let (script, url) = start("cluster.sh", &["c"])?;
        Some(Self { _script: script, url })
    }

    /// The same database as another role.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url.replacen("postgres@", &format!("{user}:{password}@"), 1)
    }
}

/// A primary and two streaming standbys.
pub struct Replicas {
    script: Script,
    /// URL of the primary.
    pub primary: String,
    /// URLs of the standbys.
    pub standbys: [String; 2],
}

impl Replicas {
    /// Starts all three.
    pub fn start() -> Option<Self> {
        let (mut script, primary) = start("replicas.sh", &[])?;
        let standbys = [script.line(), script.line()];
        Some(Self { script, primary, standbys })
    }

    /// `stop`, `start`, `promote`, `freeze` or `thaw`, and `primary`, `one` or `two`.
    pub fn command(&mut self, words: &str) {
        self.script.command(words);
    }

    /// Runs statements on the primary, one by one, and waits until both standbys have replayed them.
    pub fn execute(&self, statements: &[&str]) {
        let mut primary = Session::connect(&self.primary);
        for sql in statements {
            primary.query(sql);
        }
        self.catch_up(&self.standbys.iter().collect::<Vec<_>>());
    }

    /// Waits until these standbys have replayed what the primary has written.
    pub fn catch_up(&self, standbys: &[&String]) {
        let at = one(&self.primary, "SELECT pg_current_wal_insert_lsn()::text");
        for standby in standbys {
            super::wait::wait_until("the standby to catch up", std::time::Duration::from_mins(1), || {
                one(standby, &format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{at}', false)::text")) == "true"
            });
        }
    }
}

/// The one cell of a statement's answer.
pub fn one(url: &str, sql: &str) -> String {
    Session::connect(url).query(sql)[0][0].clone().unwrap_or_default()
}

/// A server that speaks TLS, with a certificate for `localhost` from a private CA.
pub struct TlsServer {
    _script: Script,
    /// URL of its database, by address.
    pub url: String,
    /// The folder of its certificates; `tls.sh` lists them.
    pub certificates: PathBuf,
}

impl TlsServer {
    /// Makes the certificates and starts it.
    pub fn start() -> Option<Self> {
        let (mut script, url) = start("tls.sh", &[])?;
        let certificates = script.line().into();
        Some(Self { _script: script, url, certificates })
    }

    /// The URL by this host and user, with parameters in which `{}` stands for the folder of the certificates.
    pub fn url(&self, host: &str, user: &str, parameters: &str) -> String {
        let url = self.url.replace("postgres@127.0.0.1", &format!("{user}@{host}"));
        let folder = self.certificates.display().to_string();
        format!("{url}?{}", parameters.replace("{}", &folder))
    }
}
