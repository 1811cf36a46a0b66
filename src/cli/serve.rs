//! `serve`: the fallback server, until it is told to end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::Outcome;
use super::context::{Context, Project};
use super::print::{self, styled};
use super::signals::Signals;
use crate::config::ServeConfig;
use crate::error::Error;
use crate::fallback::{Fallback, Order, Origins, Settings};
use crate::release::Phase;

mod parts;

use parts::parts;

/// How long it lingers where others than this machine can reach it: a cluster tells its balancers of the end and the
/// process at the same time.
const LINGER: Duration = Duration::from_secs(5);
/// What says where documents are answered.
const LISTEN: &str = "`--listen`, or [fallback] listen,";
/// What says where figures are answered.
const ADMIN_LISTEN: &str = "`--admin-listen`, or [fallback] admin_listen,";

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
        context.warn_of_database_url();
        let project = context.published_project()?;
        let serve = &project.config.fallback.serve;
        let trusted_proxies = trusted_proxies(&project, serve)?;
        let parts = parts(&project)?;
        let (public, address) = bind(self.listen.unwrap_or(serve.listen), LISTEN)?;
        let settings = Settings {
            has_no_proxy: serve.trusted_proxies.as_ref().is_some_and(Vec::is_empty),
            trusted_proxies,
            origins: serve.cors_origins.clone().map_or(Origins::Any, Origins::These),
            memory_bytes: serve.memory_bytes,
            connections: serve.connections,
            linger: serve.linger.unwrap_or_else(|| if address.ip().is_loopback() { Duration::ZERO } else { LINGER }),
            follow_every: serve.follow,
            reread: serve.reread,
            prefix: project
                .base_url()
                .map(|url| url.path().trim_end_matches('/').to_owned())
                .filter(|path| !path.is_empty()),
            health_prefix: serve.health_prefix.clone(),
        };
        let admin = match self.admin_listen.or(serve.admin_listen) {
            Some(admin) if admin == address => {
                let message = format!("documents and figures can't both be answered at {address}");
                return Err(Error::usage(message, format!("{LISTEN} and {ADMIN_LISTEN} name different ports")));
            }
            Some(address) => Some(bind(address, ADMIN_LISTEN)?),
            None => None,
        };
        let admin_address = admin.as_ref().map(|(_, address)| *address);
        let (orders, order) = watch::channel(Order::Serve);
        let hearing = tokio::spawn(hear(Signals::new()?, orders));
        Self::tell(context, &project, address, admin_address);
        context.progress.enter(Phase::Serve, 0);
        let served = Fallback::new(parts, settings).serve(public, admin.map(|(listener, _)| listener), order).await;
        hearing.abort();
        served.map_err(|error| listening(address, LISTEN, &error))?;
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

/// Makes orders of signals: a service manager's is to be obeyed once everybody knows, a person's at once.
async fn hear(mut signals: Signals, orders: watch::Sender<Order>) {
    loop {
        signals.next().await;
        let is_second = *orders.borrow() == Order::Drain;
        orders.send_replace(if is_second || signals.was_interrupt() { Order::End } else { Order::Drain });
    }
}

/// Behind a CDN every reader seems to come from a few addresses, and limits by client would stop all of them together.
pub fn trusted_proxies(project: &Project, serve: &ServeConfig) -> Result<Vec<ipnet::IpNet>, Error> {
    match (&serve.trusted_proxies, project.base_url()) {
        (Some(networks), _) => Ok(networks.clone()),
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err(Error::usage(
            "[cdn] url is set, and [fallback] trusted_proxies isn't: behind a CDN all readers would share one client's limit",
            "write the networks that the CDN asks from, trusted_proxies = [\"192.0.2.0/24\"], or [] if readers come directly",
        )),
    }
}

/// Connections that the system keeps until they are accepted; it cuts this to its own `net.core.somaxconn`. Readers of a burst
/// that finds no room aren't refused: their system asks again after a second, then after two more, and so on.
const BACKLOG: u32 = 4096;

/// What `TcpListener::bind` does, with more room than its 128.
fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again finds its port, though connections of the last one aren't over.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind(address: SocketAddr, key: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = open(address).map_err(|error| listening(address, key, &error))?;
    let bound = listener.local_addr().map_err(|error| listening(address, key, &error))?;
    Ok((listener, bound))
}

fn listening(address: SocketAddr, key: &str, error: &std::io::Error) -> Error {
    let whose = match error.kind() {
        ErrorKind::AddrInUse => "another program has it, perhaps another `tintype serve`",
        ErrorKind::AddrNotAvailable => "this machine hasn't such an address",
        ErrorKind::PermissionDenied => "ports below 1024 are for root",
        _ => "it can't be had",
    };
    let hint = format!("{whose}; {key} says where to listen, and port 0 is any free one");
    Error::Listen { address: address.to_string(), reason: error.to_string(), hint }
}
