//! The fallback server: the same paths and the same bytes as the edge, for when the edge has them not.
//!
//! It stands behind a CDN or beside one, and must not do what it is there to prevent: bring the database down. So the
//! way of a request is a row of questions that cost more and more (`answer`), and what may reach the database is bounded
//! by construction: one flight a path (`flight`), a few leases in all (`database::Pool`), so much a client (`limit`). A
//! key that doesn't exist costs nothing (`keys`); what was answered is remembered (`memory`).
//!
//! Everything that is published comes from the active release (`site`), whose blobs never change, so a document in
//! memory is known to be right by its digest, and a new release is noticed without a restart.

mod answer;
mod aside;
mod bodies;
mod body;
mod client;
mod crowd;
mod descriptors;
mod doubt;
mod families;
mod figures;
mod flight;
mod health;
mod keys;
mod limit;
mod listen;
mod live;
mod loads;
mod memory;
mod metrics;
pub mod negotiate;
mod overtaken;
mod peers;
mod pool_metrics;
mod request;
mod respond;
mod rest;
mod silence;
mod site;
mod table;
mod word;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use moka::sync::Cache;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};

use crate::aside::Aside;
use crate::database::Pool;
use crate::store::Store;
use crate::template::Template;

use answer::{Failure, Landed};
use aside::Presence;
use bodies::Bodies;
use client::Unnamed;
use crowd::Crowd;
use doubt::Doubt;
pub use families::Folder;
use families::{Families, Turned};
use figures::Figures;
use flight::Flights;
use limit::Limits;
use loads::Loads;
use memory::Memory;
use peers::Peers;
pub use respond::Origins;
use rest::{Rest, Trial};
use silence::Silence;
use site::Followed;
pub use table::Table;
use word::Word;

/// Documents that are read from the store at a time, for readers.
const STORE_TURNS: usize = 64;
/// Threads for a folder: for these documents, the head, the record of the release and the table's file.
const STORE_THREADS: usize = STORE_TURNS + 3;
/// Documents that failed lately and are left alone for some seconds.
const MAX_FAILURES: u64 = 10_000;
/// Documents that a client with enough on their way may wait for.
const IN_LINE: usize = 64;
/// Connections of operators and their tools.
const ADMIN_CONNECTIONS: usize = 64;
/// How often clients are forgotten who have their whole share again.
const SWEEP: Duration = Duration::from_mins(1);

/// What a server is made of.
pub struct Parts {
    /// The store.
    pub store: Arc<Store>,
    /// The templates, whose files say what may be answered from the database.
    pub templates: Vec<Arc<Template>>,
    /// Where those files are.
    pub folder: Folder,
    /// The database, if there is one.
    pub pool: Option<Pool>,
    /// The fallback table, if there is one.
    pub table: Option<Table>,
    /// True if that is another pool than the database's.
    pub has_table_pool: bool,
    /// The pool to the server that keeps the store's head, if a database does and one of these pools is to it.
    pub head_pool: Option<Pool>,
}

/// How it serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose word about the client is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// True if the operator has said that readers come without any proxy.
    pub has_no_proxy: bool,
    /// Which pages may read the documents.
    pub origins: Origins,
    /// Bytes of gzipped documents that are kept in memory.
    pub memory_bytes: u64,
    /// Connections at a time.
    pub connections: usize,
    /// How long everybody is answered on after the end was asked for.
    pub linger: Duration,
    /// How often the store is asked for a new release.
    pub follow_every: Duration,
    /// How often a path that no release shows may have the keys read again.
    pub reread: Duration,
    /// The path under which the documents lie at the edge, as `/data`; requests may have it or not.
    pub prefix: Option<String>,
    /// A further path for the health probes, as `/api/v1/hc`.
    pub health_prefix: Option<String>,
}

/// What a server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To serve.
    Serve,
    /// To call itself unready, to answer for as long as it lingers, and then to end.
    Drain,
    /// To end as soon as it has answered what it was asked.
    End,
}

/// The server.
pub struct Fallback {
    store: Arc<Store>,
    pool: Option<Pool>,
    table: Option<Table>,
    has_table_pool: bool,
    settings: Settings,
    followed: Followed,
    memory: Memory,
    /// What it holds, and what is being sent besides.
    bodies: Bodies,
    limits: Limits,
    crowd: Arc<Crowd>,
    peers: Arc<Peers>,
    /// Who isn't believed, and perhaps should be.
    unnamed: Unnamed,
    loads: Arc<Loads>,
    /// Who has documents on their way from a database.
    at_work: Arc<Peers>,
    /// Who waits until one of his has landed.
    in_line: Arc<Peers>,
    /// For how long.
    turn: Duration,
    /// Documents on their way from a table or a database.
    flights: Flights<Landed>,
    /// Documents on their way from the store.
    reads: Flights<Landed>,
    failures: Cache<Box<str>, Failure>,
    figures: Figures,
    /// Documents that are read from the store at a time.
    store_turns: Arc<Semaphore>,
    /// What the store failed to give.
    silence: Silence,
    /// The threads in which a folder is read.
    aside: Arc<Aside>,
    /// Whether the table's file is there.
    presence: Presence,
    /// Whether the table works.
    table_trial: Arc<Trial>,
    /// After it hadn't what is published: looking there costs the client's share until it may have it again.
    table_doubt: Doubt,
    /// When a reader has found it to be of another release.
    table_turned: Notify,
    /// After the log was told of a row that is broken.
    table_told: Rest,
    /// After the log was told of a failure.
    told: Rest,
    /// After it was told of readers for whom there was no connection.
    told_busy: Rest,
    /// After it was told of a document that the store failed to give.
    told_store: Rest,
    /// After it was told of one that is damaged.
    told_damage: Rest,
    /// After it was told of readers who hold too much.
    told_room: Rest,
    /// After it was told of one who has had his share of the database.
    told_limited: Rest,
    /// After it was told of one who has his share of large documents on their way.
    told_share: Rest,
    /// Whether the database is there.
    word: Word,
    /// Whether the table is there.
    table_word: Word,
    draining: AtomicBool,
}

impl Fallback {
    /// A server that has looked at nothing yet.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Fallback> {
        let Parts { store, templates, folder, pool, table, has_table_pool, head_pool } = parts;
        let connections = descriptors::room_for(settings.connections);
        let crowd = Crowd::of(connections);
        let peers = Peers::of(connections, &settings.trusted_proxies);
        let unnamed = Unnamed::beside(&settings.trusted_proxies, settings.has_no_proxy);
        let bodies = Bodies::beside(settings.memory_bytes);
        let loads = Loads::of(bodies.most(), &settings.trusted_proxies);
        let pools = || pool.iter().chain(table.iter().map(|table| &table.pool));
        // Those with a lease and half of the queue, so that nobody waits for long behind a few who want much.
        let places = pools().map(|pool| usize::midpoint(pool.max(), pool.places())).min();
        let at_work = Peers::at_work(places.unwrap_or(0));
        // The rest is for the connection itself.
        let turn = pools().map(Pool::acquire_timeout).min().unwrap_or_default() * 4 / 5;
        let limits = Limits::new(templates.iter().map(AsRef::as_ref));
        let families = Families::new(&templates, folder, settings.reread);
        Arc::new(Fallback {
            store,
            pool,
            table,
            has_table_pool,
            memory: Memory::new(settings.memory_bytes),
            bodies,
            settings: Settings { connections, ..settings },
            followed: Followed::new(families, head_pool),
            limits,
            crowd,
            peers,
            unnamed,
            loads,
            at_work,
            in_line: Peers::up_to(IN_LINE),
            turn,
            flights: Flights::default(),
            reads: Flights::default(),
            failures: Cache::builder().max_capacity(MAX_FAILURES).time_to_live(Duration::from_mins(2)).build(),
            figures: Figures::default(),
            store_turns: Arc::new(Semaphore::new(STORE_TURNS)),
            silence: Silence::default(),
            aside: Arc::new(Aside::new(STORE_THREADS)),
            presence: Presence::default(),
            table_trial: Arc::default(),
            table_doubt: Doubt::default(),
            table_turned: Notify::new(),
            table_told: Rest::default(),
            told: Rest::default(),
            told_busy: Rest::default(),
            told_store: Rest::default(),
            told_damage: Rest::default(),
            told_room: Rest::default(),
            told_limited: Rest::default(),
            told_share: Rest::default(),
            word: Word::default(),
            table_word: Word::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// Serves on both sockets until it is ordered to end. The documents are answered at the first, what concerns the
    /// operator at the second, which is there until the last document is sent.
    pub async fn serve(
        self: Arc<Self>,
        public: TcpListener,
        admin: Option<TcpListener>,
        order: watch::Receiver<Order>,
    ) -> io::Result<()> {
        let follower = {
            let fallback = Arc::clone(&self);
            tokio::spawn(async move {
                let turned = |turned: &Turned| fallback.turned(turned);
                let (store, aside) = (&fallback.store, &fallback.aside);
                fallback.followed.follow(store, aside, fallback.settings.follow_every, &turned).await;
            })
        };
        let watcher = {
            let fallback = Arc::clone(&self);
            tokio::spawn(async move { fallback.watch_table().await })
        };
        let sweeper = {
            let fallback = Arc::clone(&self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP).await;
                    fallback.limits.sweep();
                }
            })
        };
        let warmer = {
            let fallback = Arc::clone(&self);
            tokio::spawn(async move {
                fallback.warm().await;
            })
        };
        let (close, closed) = watch::channel(false);
        let drain = tokio::spawn(Arc::clone(&self).drain(order, close));
        let (crowd, peers) = (Arc::clone(&self.crowd), Arc::clone(&self.peers));
        let answering = Arc::clone(&self);
        let documents = listen::listen(public, crowd, peers, closed, move |asked| {
            let fallback = Arc::clone(&answering);
            async move { fallback.respond(asked).await }
        });
        let (documents_end, no_more_documents) = watch::channel(false);
        let documents = async {
            let served = documents.await;
            documents_end.send_replace(true);
            served
        };
        let operator = async {
            let Some(admin) = admin else { return Ok(()) };
            let answering = Arc::clone(&self);
            listen::listen(admin, Crowd::of(ADMIN_CONNECTIONS), Peers::any(), no_more_documents, move |asked| {
                let fallback = Arc::clone(&answering);
                async move { fallback.respond_to_operator(asked).await }
            })
            .await
        };
        let served = tokio::try_join!(documents, operator).map(drop);
        for task in [follower, watcher, sweeper, warmer, drain] {
            task.abort();
        }
        for pool in self.pool.iter().chain(self.table.iter().map(|table| &table.pool)) {
            pool.close().await;
        }
        served
    }

    /// Reads the keys of every template.
    async fn warm(&self) {
        if let Some(pool) = &self.pool {
            keys::warm(self.followed.served(self.followed.site().as_deref()), pool).await;
        }
    }

    /// Another release is the site: what was known under the one before is known no more where it has changed.
    fn turned(self: &Arc<Self>, turned: &Turned) {
        for path in &turned.gone {
            self.memory.forget(path);
        }
        let site = self.followed.site();
        let served = self.followed.served(site.as_deref());
        self.limits.renew(served.iter().map(|served| served.template.as_ref()));
        if turned.dropped.is_empty() {
            return;
        }
        let is_of_dropped =
            |path: &str| turned.dropped.iter().any(|served| served.template.pattern.slugs(path).is_some());
        self.memory.forget_answers(is_of_dropped);
        let fallback = Arc::clone(self);
        tokio::spawn(async move { fallback.warm().await });
    }

    /// Waits for the end: unready from then on, but there for those who haven't heard of it. A load balancer goes on
    /// sending readers until its next look, or until somebody tells it.
    async fn drain(self: Arc<Self>, mut order: watch::Receiver<Order>, close: watch::Sender<bool>) {
        // Who gave the orders may be gone, which is one, too.
        let _ = order.wait_for(|order| *order != Order::Serve).await;
        self.draining.store(true, Ordering::Relaxed);
        tracing::info!(linger = ?self.settings.linger, "told to end: what is asked for is still answered, and /health/ready says no");
        let _ = tokio::time::timeout(self.settings.linger, order.wait_for(|order| *order == Order::End)).await;
        close.send_replace(true);
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether requests are worth sending here: the store was looked at or hangs, and it shows a release, or else there is a
    /// table or a template whose keys are known.
    fn is_ready(&self) -> bool {
        let site = self.followed.site();
        let served = self.followed.served(site.as_deref());
        let keys_are_known = || self.pool.is_some() && served.iter().any(|served| served.keys_are_known());
        let has_something = || site.is_some() || self.table.is_some() || keys_are_known();
        !self.is_draining() && self.followed.has_looked() && has_something()
    }
}
