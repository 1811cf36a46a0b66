//! Which connections stay open, and for how long.

use super::*;

/// Reads once over a lease of its own.
async fn read_once(pool: &Pool) {
    let mut lease = pool.begin().await.unwrap();
    assert_eq!(read(&mut lease).await.unwrap(), 1);
    lease.finish().await.unwrap();
}

#[tokio::test]
async fn after_a_burst_one_connection_works_and_the_others_are_closed() {
    let idle_timeout = Duration::from_millis(500);
    on_each(PoolSettings { max: 4, idle_timeout, ..settings() }, async |pool| {
        let mut burst = Vec::new();
        for _ in 0..4 {
            burst.push(pool.begin().await.unwrap());
        }
        for lease in burst {
            lease.finish().await.unwrap();
        }
        assert_eq!((pool.state().idle, pool.figures().opened), (4, 4));
        let begun = tokio::time::Instant::now();
        while pool.figures().closed(Closed::Idle) < 3 {
            read_once(&pool).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pool.state());
        }
        assert!(begun.elapsed() + Duration::from_millis(50) >= idle_timeout, "closed too early");
        assert_eq!((pool.state().idle, pool.figures().opened), (1, 4), "one did all the work");
        // Without work that one goes as well.
        while pool.state().idle > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", pool.state());
        }
        read_once(&pool).await;
        assert_eq!(pool.figures().invalid, 0);
    })
    .await;
}

#[tokio::test]
async fn none_gets_older_than_its_lifetime() {
    let max_lifetime = Duration::from_millis(300);
    on_each(PoolSettings { max_lifetime, ..settings() }, async |pool| {
        let begun = tokio::time::Instant::now();
        while pool.figures().closed(Closed::Age) < 3 {
            read_once(&pool).await;
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", pool.state());
        }
        assert!(begun.elapsed() >= max_lifetime * 27 / 10, "ten per cent less at most");
        assert_eq!(pool.figures().closed_in_all(), 3);
    })
    .await;
}
