//! `db`: what the commands say of a server's connections is what the server says.

use crate::support::postgres::Session;
use crate::support::project::Project;
use crate::support::servers::Alone;

mod budget;
mod connections;
mod monitor;
mod trial;

/// A server of a test's own, and a project over it.
struct World {
    server: Alone,
    project: Project,
}

impl World {
    fn start() -> Option<Self> {
        let server = Alone::start()?;
        let project = Project::at(&server.url);
        Some(Self { server, project })
    }

    /// A connection of this name.
    fn session(&self, name: &str) -> Session {
        session(&self.server.url, name)
    }

    /// A role without any rights, and the URL that connects as it.
    fn role(&self, name: &str, limit: i32) -> String {
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD 'pass' CONNECTION LIMIT {limit}");
        self.session("setup").query(&sql);
        self.server.url_as(name, "pass")
    }
}

fn session(url: &str, name: &str) -> Session {
    let mut session = Session::connect(url);
    session.query(&format!("SET application_name = '{name}'"));
    session
}

/// The server's own count of its clients, with the connection that asks.
fn clients(session: &mut Session) -> u64 {
    let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend'";
    number(&session.query(sql))
}

fn number(rows: &[Vec<Option<String>>]) -> u64 {
    rows[0][0].as_deref().and_then(|text| text.parse().ok()).expect("a number")
}
