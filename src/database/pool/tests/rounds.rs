//! A thousand leases that end in every way, on PostgreSQL: nothing is left behind, and there are never too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::*;

const ROUNDS: u64 = 1000;
/// The pool's size: each broken statement costs its slot for a second, and there shall be many.
const MAX: usize = 16;
const APPLICATION: &str = "tintype/test/rounds";

/// What the server has of the pool: connections, and those that lie in a transaction.
async fn seen(watcher: &mut PgConnection) -> (i64, i64) {
    let text = format!(
        "SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%') FROM pg_stat_activity \
         WHERE application_name = '{APPLICATION}'"
    );
    sqlx::query_as(AssertSqlSafe(text)).fetch_one(watcher).await.unwrap()
}

/// A statement of some milliseconds.
async fn sleep(lease: &mut super::super::Lease, seconds: f64) -> Result<u64, DatabaseError> {
    let statement = bound("SELECT pg_sleep($1)::text AS slept", Bind::Real(seconds));
    let (rows, mut read) = mpsc::channel(8);
    tokio::join!(lease.transaction().read(&statement, &rows), async {
        while read.recv().await.is_some_and(|rows| !matches!(rows, crate::database::Rows::End)) {}
    })
    .0
}

/// One lease, ended in the way that belongs to the number.
async fn round(pool: Pool, number: u64) {
    let Ok(mut lease) = pool.begin().await else { return };
    match number % 10 {
        0..3 => {
            let _ = sleep(&mut lease, 0.001).await;
            let _ = lease.finish().await;
        }
        // Cancelled by whoever started it, between statements or in the middle of one.
        3..5 => tokio::time::sleep(Duration::from_mins(1)).await,
        5 => drop(sleep(&mut lease, 60.0).await),
        6 => panic!("on purpose"),
        7 => drop(tokio::time::timeout(Duration::from_millis(number % 7), sleep(&mut lease, 0.005)).await),
        8 => {
            let (rows, _read) = mpsc::channel(8);
            let wrong = bound("SELECT 1 / ($1 - $1)", Bind::Integer(1));
            let _ = lease.transaction().read(&wrong, &rows).await;
            let _ = lease.finish().await;
        }
        // Dropped as it is.
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_ends_leave_nothing_behind() {
    let Ok(url) = std::env::var("TINTYPE_TEST_POSTGRES_URL") else {
        eprintln!("SKIPPED: TINTYPE_TEST_POSTGRES_URL names no PostgreSQL server to lease connections from");
        return;
    };
    let database = Database::from_url(&url, Path::new("/")).unwrap();
    let patient = PoolSettings { max: MAX, queue: 64, acquire_timeout: Duration::from_secs(30), ..settings() };
    let pool = Pool::new(&database, patient, APPLICATION);
    let (most, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let sampler = tokio::spawn({
        let (most, stop) = (Arc::clone(&most), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(seen(&mut watcher).await.0, Ordering::Relaxed);
            }
            watcher
        }
    });
    let mut running = tokio::task::JoinSet::new();
    for number in 0..ROUNDS {
        let round = tokio::spawn(round(pool.clone(), number));
        running.spawn(async move {
            if matches!(number % 10, 3..=5) {
                // Anywhere from the first step of `begin` to the middle of a statement.
                tokio::time::sleep(Duration::from_millis(number % 41)).await;
                round.abort();
            }
            let _ = round.await;
        });
        if running.len() >= MAX + 8 {
            running.join_next().await;
        }
    }
    while running.join_next().await.is_some() {}
    while pool.state().in_use + pool.state().closing > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut watcher = sampler.await.unwrap();
    let (open, in_transaction) = seen(&mut watcher).await;
    let (state, figures) = (pool.state(), pool.figures());
    assert_eq!((state.in_use, state.waiting, in_transaction), (0, 0, 0), "{state:?}");
    assert_eq!(figures.acquires, figures.releases, "{figures:?}");
    assert_eq!(usize::try_from(open).unwrap(), state.idle, "what is open lies ready: {figures:?}");
    let most = usize::try_from(most.load(Ordering::Relaxed)).unwrap();
    assert!((1..=MAX).contains(&most), "{most} connections at a time");
    assert!(figures.closed(Closed::Unfinished) > ROUNDS / 4 && figures.closed(Closed::Unclean) > 0, "{figures:?}");
    read(&mut pool.begin().await.unwrap()).await.unwrap();
}
