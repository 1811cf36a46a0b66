//! What the head of a store promises, wherever it is kept: in a directory, in a bucket, in a row of a database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tintype::store::{Directory, HeadPlace, Store, Swap, Version};

use crate::support::bucket::Bucket;
use crate::support::postgres::{self, runtime};
use crate::support::servers::Bouncer;

/// A store without a head, by what keeps the head.
enum Place {
    Directory(TempDir),
    Bucket(Bucket),
    /// A bucket whose one publisher writes the head without a condition.
    Alone(Bucket),
    /// A bucket, and the URL of a database.
    Row(Bucket, String),
}

impl Place {
    /// The store; every call opens it anew, as another process would.
    fn open(&self) -> Arc<Store> {
        Arc::new(match self {
            Place::Directory(folder) => {
                Store::Directory(Directory::new(folder.path().join("public"), folder.path().join(".tintype")))
            }
            Place::Bucket(bucket) => bucket.store(),
            Place::Alone(bucket) => bucket.store_with(HeadPlace::Unconditional),
            Place::Row(bucket, url) => {
                let row = HeadPlace::row(url, Path::new("/"), Duration::from_secs(10)).expect("a server's URL");
                bucket.store_with(row)
            }
        })
    }
}

/// Runs a test against a head in every place; in a row directly and through a pooler, in databases without the table.
fn on_each(test: &impl AsyncFn(&Place, Arc<Store>)) {
    let run = |place: Place| runtime().block_on(test(&place, place.open()));
    run(Place::Directory(tempfile::tempdir().expect("make a folder")));
    run(Place::Bucket(Bucket::new()));
    run(Place::Alone(Bucket::new()));
    let Some(database) = postgres::database() else { return };
    run(Place::Row(Bucket::new(), database.url()));
    let (Some(database), user) = (postgres::database(), format!("head_{}", database.name())) else { return };
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT CREATE ON SCHEMA public TO {user}"));
    if let Some(bouncer) = Bouncer::before(&database.url(), "default_pool_size = 2", &format!("\"{user}\" \"pass\"")) {
        run(Place::Row(Bucket::new(), bouncer.url(&user, "pass", database.name())));
    }
    database.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
}

/// A swap that gets an answer: the new version, or none where it was refused.
async fn swap(store: &Store, expected: Option<&Version>, new: &str) -> Option<Version> {
    match store.swap_head(expected, new.as_bytes().to_vec()).await.expect("swap the head") {
        Swap::Swapped(version) => Some(version),
        Swap::Refused => None,
        Swap::Unanswered { error, .. } => panic!("{error}"),
    }
}

#[test]
fn the_head_is_swapped_only_from_what_is_expected() {
    on_each(&async |place, store| {
        assert!(store.read_head().await.unwrap().is_none());
        let one = swap(&store, None, "1").await.expect("the first head is written");
        assert_eq!(swap(&store, None, "2").await, None);
        assert_eq!(store.read_head().await.unwrap().unwrap().bytes, b"1");
        let two = swap(&store, Some(&one), "2").await.expect("the expectation holds");
        assert_eq!(swap(&store, Some(&one), "3").await, None);
        let read = place.open().read_head().await.unwrap().unwrap();
        assert_eq!((read.bytes.as_slice(), &read.version), (&b"2"[..], &two));
        // A version that was read is as good as one that was written.
        assert!(swap(&store, Some(&read.version), "3").await.is_some());
        match read.age {
            Some(age) => assert!(!matches!(place, Place::Directory(_)) && age.as_secs() < 60, "{age:?}"),
            None => assert!(matches!(place, Place::Directory(_))),
        }
    });
}

#[test]
fn of_eight_swaps_at_a_time_one_wins() {
    on_each(&async |place, store| {
        // Nothing keeps these apart.
        if matches!(place, Place::Alone(_)) {
            return;
        }
        let mut expected = None;
        for round in 0..5 {
            let stores: Vec<Arc<Store>> = (0..8).map(|_| place.open()).collect();
            let texts: Vec<String> = (0..8).map(|at| format!("{}", round * 10 + at)).collect();
            let swaps = stores.iter().zip(&texts).map(|(store, text)| swap(store, expected.as_ref(), text));
            let won: Vec<usize> =
                join_all(swaps).await.iter().enumerate().filter(|(_, won)| won.is_some()).map(|(at, _)| at).collect();
            let [winner] = won.as_slice() else { panic!("winners in round {round}: {won:?}") };
            let read = store.read_head().await.unwrap().unwrap();
            assert_eq!(read.bytes, texts[*winner].as_bytes());
            expected = Some(read.version);
        }
    });
}

#[test]
fn a_store_that_looks_and_then_writes_is_noticed() {
    // What `of_eight_swaps_at_a_time_one_wins` rests on: without the server's lock it fails.
    let bucket = Bucket::racy();
    let winners = runtime().block_on(async {
        let mut most = 0;
        for _ in 0..20 {
            let stores: Vec<Store> = (0..8).map(|_| bucket.store()).collect();
            let expected = stores[0].read_head().await.unwrap().map(|read| read.version);
            let swaps = stores.iter().map(|store| swap(store, expected.as_ref(), "new"));
            most = most.max(join_all(swaps).await.iter().flatten().count());
        }
        most
    });
    assert!(winners > 1, "the server is never racy, so the race proves nothing");
}
