//! The pool against real databases: a SQLite file always, and PostgreSQL where `TINTYPE_TEST_POSTGRES_URL` names a server.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Closed, Pool, PoolError, PoolSettings};
use crate::database::{Database, DatabaseError, ReadSettings};
use crate::template::scope::{Bind, Statement};

mod hanging;
mod log;
mod replaced;
mod rounds;
mod silent;
mod stack;

/// What an engine needs for a test, kept until the test ends.
struct Place {
    database: Database,
    _folder: Option<TempDir>,
}

fn places() -> Vec<Place> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.db"), b"").unwrap();
    let file = Place { database: Database::from_url("sqlite:data.db", folder.path()).unwrap(), _folder: Some(folder) };
    let mut places = vec![file];
    match std::env::var("TINTYPE_TEST_POSTGRES_URL") {
        Ok(url) => places.push(Place { database: Database::from_url(&url, Path::new("/")).unwrap(), _folder: None }),
        Err(_) => eprintln!("SKIPPED: TINTYPE_TEST_POSTGRES_URL names no PostgreSQL server to lease connections from"),
    }
    places
}

fn settings() -> PoolSettings {
    PoolSettings {
        name: "serve",
        max: 2,
        queue: 1,
        acquire_timeout: Duration::from_secs(5),
        max_lifetime: Duration::from_mins(30),
        idle_timeout: Duration::from_mins(3),
        read: ReadSettings {
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
            longest_idle: Duration::from_secs(30),
            settings: Vec::new(),
        },
    }
}

fn bound(text: &str, bind: Bind) -> Statement {
    let mut statement = Statement::verbatim(text);
    statement.binds.push(bind);
    statement
}

/// Reads one row over a lease of the pool, as a live answer does: with the key bound.
async fn read(lease: &mut super::Lease) -> Result<u64, DatabaseError> {
    let bind = "SELECT CASE WHEN $1 = 'a' THEN 1 ELSE 0 END AS one";
    let statement = bound(bind, Bind::Text("a".to_owned()));
    let (rows, mut read) = mpsc::channel(8);
    let (count, ()) = tokio::join!(lease.transaction().read(&statement, &rows), async {
        for _ in 0..3 {
            read.recv().await;
        }
    });
    count
}

/// A lease, also where opening a connection takes longer than a reader waits.
async fn patiently(pool: &Pool) -> super::Lease {
    loop {
        match pool.begin().await {
            Ok(lease) => return lease,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn on_each(settings: PoolSettings, test: impl AsyncFn(Pool)) {
    for place in places() {
        let pool = Pool::new(&place.database, settings.clone(), "tintype/test/pool");
        test(pool).await;
    }
}

#[tokio::test]
async fn one_reader_after_the_other_has_the_same_connection() {
    on_each(settings(), async |pool| {
        assert_eq!((pool.state().idle, pool.figures().opened), (0, 0));
        for _ in 0..5 {
            let mut lease = pool.begin().await.unwrap();
            assert_eq!(pool.state().in_use, 1);
            assert_eq!(read(&mut lease).await.unwrap(), 1);
            lease.finish().await.unwrap();
            assert_eq!((pool.state().in_use, pool.state().idle), (0, 1));
        }
        let figures = pool.figures();
        assert_eq!((figures.acquires, figures.releases, figures.opened, figures.closed_in_all()), (5, 5, 1, 0));
        assert_eq!((figures.wait.count(), figures.hold.count()), (5, 5));
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_is_dropped_closes_its_connection() {
    on_each(settings(), async |pool| {
        drop(pool.begin().await.unwrap());
        assert_eq!((pool.state().in_use, pool.state().idle, pool.state().closing), (0, 0, 1));
        let lease = pool.begin().await.unwrap();
        assert_eq!((pool.figures().opened, pool.figures().closed(Closed::Unfinished)), (2, 1));
        lease.finish().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_error_and_a_call_that_broke_off_close_the_connection() {
    on_each(settings(), async |pool| {
        let mut lease = pool.begin().await.unwrap();
        let wrong = bound("SELECT nothing FROM nowhere WHERE 1 = $1", Bind::Integer(1));
        let (rows, _read) = mpsc::channel(8);
        lease.transaction().read(&wrong, &rows).await.unwrap_err();
        lease.finish().await.unwrap();
        assert_eq!((pool.state().idle, pool.figures().closed(Closed::Unclean)), (0, 1));

        let mut lease = pool.begin().await.unwrap();
        // Nobody takes the rows, so that it can't come to its end.
        let (rows, _read) = mpsc::channel(1);
        let statement = bound("SELECT $1 AS one", Bind::Integer(1));
        let reading = lease.transaction().read(&statement, &rows);
        tokio::time::timeout(Duration::from_millis(50), reading).await.unwrap_err();
        lease.finish().await.unwrap();
        assert_eq!((pool.state().idle, pool.figures().closed(Closed::Unclean)), (0, 2));
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_and_a_long_wait_in_time() {
    let brief = PoolSettings { acquire_timeout: Duration::from_millis(300), ..settings() };
    on_each(brief, async |pool| {
        let held = (patiently(&pool).await, patiently(&pool).await);
        let waits = tokio::spawn({
            let pool = pool.clone();
            async move { pool.begin().await.map(drop) }
        });
        while pool.state().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let full = pool.begin().await.map(drop).unwrap_err();
        assert!(matches!(full, PoolError::Full { max: 2, in_use: 2, waiting: 1, .. }), "{full}");
        let timed_out = waits.await.unwrap().unwrap_err();
        let PoolError::TimedOut { max: 2, in_use: 2, waiting: 1, waited, limit, .. } = timed_out else {
            panic!("{timed_out}")
        };
        assert!(waited >= limit && limit == Duration::from_millis(300));
        assert_eq!((pool.figures().shed, pool.figures().timeouts, pool.state().waiting), (1, 1, 0));
        drop(held);
    })
    .await;
}

#[tokio::test]
async fn a_task_has_one_lease_at_a_time() {
    on_each(settings(), async |pool| {
        let task = tokio::spawn(async move {
            let lease = pool.begin().await.unwrap();
            let nested = pool.begin().await.map(drop).unwrap_err();
            assert!(matches!(nested, PoolError::Nested { pool: "serve" }), "{nested}");
            lease.finish().await.unwrap();
            pool.begin().await.unwrap().finish().await.unwrap();
        });
        task.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_closed_pool_gives_nothing_and_takes_nothing_back() {
    on_each(settings(), async |pool| {
        let (leased, idle) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
        idle.finish().await.unwrap();
        pool.close().await;
        assert!(matches!(pool.begin().await.map(drop), Err(PoolError::Closed { .. })));
        leased.finish().await.unwrap();
        assert_eq!((pool.state().idle, pool.state().in_use), (0, 0));
        assert_eq!(pool.figures().closed(Closed::Drained), 2);
    })
    .await;
}
