//! A server that takes connections and never says a word, as one does in the middle of a login that takes long: what was
//! begun there counts for as long as the server may be busy with it.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::*;

/// Nearly as long as a server may be busy with a login.
const WHILE: Duration = Duration::from_mins(1);

/// Such a server, and what it has taken.
async fn silent() -> (Database, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/nothing?sslmode=disable", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            keeps.lock().unwrap().push(stream);
        }
    });
    (Database::from_url(&url, Path::new("/")).unwrap(), taken)
}

/// Three readers at a time, who all are turned away. How long that took.
async fn turned_away(pool: &Pool) -> Duration {
    let asked = Instant::now();
    let readers: [_; 3] = std::array::from_fn(|_| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.begin().await.map(drop) })
    });
    for reader in readers {
        reader.await.unwrap().unwrap_err();
    }
    asked.elapsed()
}

/// The clock goes on by itself once everybody waits, so that a minute takes no time, and nobody who is slow spends any.
#[tokio::test(start_paused = true)]
async fn logins_that_hang_never_take_more_than_the_pool_has() {
    for max in [1, 4] {
        let (database, taken) = silent().await;
        let (patience, limit) = (Duration::from_millis(100), Duration::from_millis(200));
        let read = ReadSettings { connect_timeout: limit, ..settings().read };
        let pool = Pool::new(
            &database,
            PoolSettings { max, queue: 16, acquire_timeout: patience, read, ..settings() },
            "tintype/test/silent",
        );
        let (begun, mut waits) = (Instant::now(), 0);
        while begun.elapsed() < WHILE {
            let took = turned_away(&pool).await;
            assert!(took <= patience * 2, "{took:?}");
            waits += usize::from(!took.is_zero());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let count = taken.lock().unwrap().len();
        assert!((1..=max).contains(&count), "a pool of {max} has begun {count} logins");
        assert!(waits <= max + 1, "readers wait for a server that is known to be silent: {waits} times");
        assert!(matches!(pool.begin().await, Err(PoolError::Down { .. })));
        // The server gives up.
        let gone: Vec<TcpStream> = std::mem::take(&mut *taken.lock().unwrap());
        drop(gone);
        assert!(pool.state().in_use == 0 && pool.state().closing > 0, "{:?}", pool.state());
        while pool.state().closing > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while taken.lock().unwrap().is_empty() {
            let _ = pool.begin().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
