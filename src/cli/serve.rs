//! `serve`: the fallback server, until it is told to end.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Outcome;
use super::context::{Context, Project, run_id};
use super::print::{self, styled};
use crate::config::{ServeConfig, TablePlace};
use crate::database::{Database, Pool};
use crate::demo::server::shutdown_signal;
use crate::error::Error;
use crate::fallback::{Fallback, Origins, Parts, Settings, Table};
use crate::release::{Phase, table_site};

/// The pool of the fallback table, where that isn't the database's.
const TABLE: &str = "table";

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to answer with documents, instead of [fallback] listen; port 0 is any free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to answer with figures, instead of [fallback] `admin_listen`.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
}

impl Serve {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let serve = &project.config.fallback.serve;
        let trusted_proxies = trusted_proxies(&project, serve)?;
        let parts = parts(&project)?;
        let settings = Settings {
            trusted_proxies,
            origins: serve.cors_origins.clone().map_or(Origins::Any, Origins::These),
            memory_bytes: serve.memory_bytes,
            connections: serve.connections,
            follow_every: serve.follow,
            reread: serve.reread,
            prefix: project
                .base_url()
                .map(|url| url.path().trim_end_matches('/').to_owned())
                .filter(|path| !path.is_empty()),
            health_prefix: serve.health_prefix.clone(),
        };
        let (public, address) = bind(self.listen.unwrap_or(serve.listen)).await?;
        let admin = match self.admin_listen.or(serve.admin_listen) {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        Self::tell(context, &project, address, admin_address);
        context.progress.enter(Phase::Serve, 0);
        let (asked, end) = watch::channel(false);
        tokio::spawn(async move {
            // Without a signal handler the server runs until the process is killed.
            if shutdown_signal().await.is_ok() {
                asked.send_replace(true);
            } else {
                std::future::pending::<()>().await;
            }
        });
        let served = Fallback::new(parts, settings).serve(public, admin.map(|(listener, _)| listener), end).await;
        served.map_err(|error| listening(address, &error))?;
        Ok(Outcome::Done)
    }

    /// Where it listens: the one thing that somebody who starts it has to know, and a program may wait for.
    fn tell(context: &Context, project: &Project, address: SocketAddr, admin: Option<SocketAddr>) {
        if context.is_json() {
            print::json(&serde_json::json!({
                "version": 1,
                "command": "serve",
                "listen": address.to_string(),
                "admin_listen": admin.map(|admin| admin.to_string()),
            }));
        } else if !context.global.quiet {
            let site = project.store.describe();
            print::note(&format!("Serving {site} on {}", styled(print::CYAN, format!("http://{address}/"))));
            if let Some(admin) = admin {
                print::note(&format!("Figures on {}", styled(print::CYAN, format!("http://{admin}/metrics"))));
            }
        }
    }
}

/// Behind a CDN every reader seems to come from a few addresses, and limits by client would stop all of them together.
fn trusted_proxies(project: &Project, serve: &ServeConfig) -> Result<Vec<ipnet::IpNet>, Error> {
    match (&serve.trusted_proxies, project.base_url()) {
        (Some(networks), _) => Ok(networks.clone()),
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err(Error::usage(
            "[cdn] url is set, and [fallback] trusted_proxies isn't: behind a CDN all readers would share one client's limit",
            "write the networks that the CDN asks from, trusted_proxies = [\"192.0.2.0/24\"], or [] if readers come directly",
        )),
    }
}

fn parts(project: &Project) -> Result<Parts, Error> {
    let config = &project.config;
    let application = format!("tintype/serve/{}", run_id());
    let pool_of = |database: &Database, name| {
        let mut settings = config.database.serve.pool_settings(name);
        if name == TABLE {
            settings.read.settings.clear();
        }
        Pool::new(database, settings, &application)
    };
    let database = config.database.url.is_some().then(|| project.database()).transpose()?;
    let pool = database.as_ref().map(|database| pool_of(database, "serve"));
    let place = match &config.fallback.table {
        TablePlace::Off | TablePlace::None => None,
        TablePlace::File(path) => Some(Database::Sqlite(path.clone())),
        TablePlace::Database(url) => Some(Database::from_url(url.expose(), &config.folder)?),
    };
    // Settings are for the templates' statements: a search_path of theirs could hide the table.
    let is_same = |place: &Database| {
        let is_plain = config.database.serve.settings.is_empty();
        is_plain && database.as_ref().is_some_and(|database| database.identity() == place.identity())
    };
    let has_table_pool = place.as_ref().is_some_and(|place| !is_same(place));
    let table = match (place, project.table()?) {
        (Some(place), Some(table)) => {
            let own = if has_table_pool { None } else { pool.clone() };
            let site = table_site(&project.store, &table);
            let file = match &place {
                Database::Sqlite(file) => Some(file.clone()),
                Database::Postgres(_) => None,
            };
            Some(Table { pool: own.unwrap_or_else(|| pool_of(&place, TABLE)), site, file })
        }
        _ => None,
    };
    Ok(Parts { store: Arc::clone(&project.store), templates: project.templates.clone(), pool, table, has_table_pool })
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(address).await.map_err(|error| listening(address, &error))?;
    let bound = listener.local_addr().map_err(|error| listening(address, &error))?;
    Ok((listener, bound))
}

fn listening(address: SocketAddr, error: &std::io::Error) -> Error {
    Error::Local { action: "listen on", object: address.to_string(), reason: error.to_string() }
}
