//! What a store promises, whatever it is made of: every test runs against a directory and against a bucket.

use std::sync::Arc;

use futures_util::future::join_all;
use tempfile::TempDir;
use tintype::store::{Attributes, Directory, Store};

use crate::support::bucket::Bucket;
use crate::support::postgres::runtime;
use crate::support::s3_server::{Fault, Kind, What};

mod listing;

/// An empty store of either kind.
enum Place {
    Directory(TempDir),
    Bucket(Bucket),
}

impl Place {
    /// The store; every call opens it anew, as another process would.
    fn open(&self) -> Arc<Store> {
        Arc::new(match self {
            Place::Directory(folder) => {
                Store::Directory(Directory::new(folder.path().join("public"), folder.path().join(".tintype")))
            }
            Place::Bucket(bucket) => bucket.store(),
        })
    }
}

/// Runs a test against every kind of store.
fn on_each(test: &impl AsyncFn(&Place, Arc<Store>)) {
    let directory = Place::Directory(tempfile::tempdir().expect("make a folder"));
    for place in [directory, Place::Bucket(Bucket::new())] {
        runtime().block_on(test(&place, place.open()));
    }
}

fn attributes(cache_control: &str) -> Attributes {
    Attributes {
        cache_control: cache_control.to_owned(),
        cache_tags: vec!["places".to_owned(), "topic:crispr".to_owned()],
        digest: "00ff".to_owned(),
        serial: 7,
        as_of: "2026-01-02T03:04:05Z".to_owned(),
    }
}

/// Makes a blob and shows it at a path.
async fn show(store: &Store, path: &str, blob: &str, body: &[u8]) {
    store.create(blob, body.to_vec().into()).await.expect("write the blob");
    store.activate(path, blob, &attributes("public, max-age=60")).await.expect("show the blob");
}

async fn public(store: &Store, path: &str) -> Option<Vec<u8>> {
    store.read_public(path).await.expect("read the path")
}

#[test]
fn what_was_created_is_read_and_the_rest_is_absent() {
    on_each(&async |place, store| {
        assert_eq!(store.read("release/1.json").await.unwrap(), None);
        store.create("release/1.json", "{}".into()).await.unwrap();
        store.create("blob/ab/empty.gz", Vec::new().into()).await.unwrap();
        let large = vec![7; 3 << 20];
        store.create("shard/r/large.jsonl.gz", large.clone().into()).await.unwrap();
        let other = place.open();
        assert_eq!(other.read("release/1.json").await.unwrap().as_deref(), Some(&b"{}"[..]));
        assert_eq!(other.read("blob/ab/empty.gz").await.unwrap().as_deref(), Some(&b""[..]));
        assert!(other.read("shard/r/large.jsonl.gz").await.unwrap() == Some(large));
        assert_eq!(other.read("release").await.unwrap_or(None), None);
        assert_eq!(public(&other, "release/1.json").await, None, "readers see a record");
    });
}

#[test]
fn a_folder_is_listed_in_order_whatever_its_size() {
    on_each(&async |_, store| {
        assert_eq!(store.list("release/").await.unwrap(), Vec::<String>::new());
        store.create("blob/ab/x.gz", "x".into()).await.unwrap();
        // More than a page of a listing.
        let names: Vec<String> = (0..1030).map(|at| format!("release/{at:04}.json")).collect();
        for names in names.chunks(64) {
            join_all(names.iter().map(|name| store.create(name, "{}".into())))
                .await
                .into_iter()
                .for_each(Result::unwrap);
        }
        assert_eq!(store.list("release/").await.unwrap(), names);
        assert_eq!(store.list("blob/").await.unwrap(), ["blob/ab"]);
    });
}

#[test]
fn a_path_shows_the_blob_that_it_was_given_last() {
    on_each(&async |place, store| {
        assert_eq!(public(&store, "m/a.json").await, None);
        show(&store, "m/a.json", "blob/aa/one.gz", b"one").await;
        assert_eq!(public(&store, "m/a.json").await.as_deref(), Some(&b"one"[..]));
        show(&store, "m/a.json", "blob/bb/two.gz", b"two").await;
        show(&store, "m/b.json", "blob/bb/three.gz", b"three").await;
        assert_eq!(public(&place.open(), "m/a.json").await.as_deref(), Some(&b"two"[..]));
        // Back again, and once more the same.
        for _ in 0..2 {
            store.activate("m/a.json", "blob/aa/one.gz", &attributes("public")).await.unwrap();
            assert_eq!(public(&store, "m/a.json").await.as_deref(), Some(&b"one"[..]));
        }
        assert_eq!(store.read("blob/bb/two.gz").await.unwrap().as_deref(), Some(&b"two"[..]), "a blob was changed");
        assert!(store.activate("m/c.json", "blob/cc/none.gz", &attributes("public")).await.is_err());
        assert_eq!(public(&store, "m/c.json").await, None);
    });
}

#[test]
fn odd_names() {
    on_each(&async |_, store| {
        for (at, name) in ["with space", "plus+plus", "per%20cent", "Zürich-苏州", "q?x=1&y#z", "a'b(c)!~*", "=.-_"]
            .iter()
            .enumerate()
        {
            let (path, blob, body) = (format!("m/{name}.json"), format!("blob/{name}/x.gz"), format!("body {at}"));
            show(&store, &path, &blob, body.as_bytes()).await;
            assert_eq!(public(&store, &path).await.as_deref(), Some(body.as_bytes()), "{name}");
            assert_eq!(store.read(&blob).await.unwrap().as_deref(), Some(body.as_bytes()), "{name}");
            assert_eq!(store.list(&format!("blob/{name}/")).await.unwrap(), [blob.as_str()]);
            assert!(store.remove(&[&path]).await.is_empty(), "{name}");
            assert_eq!(public(&store, &path).await, None, "{name}");
        }
    });
}

#[test]
fn what_is_gone_already_is_removed_without_complaint() {
    on_each(&async |_, store| {
        show(&store, "m/a.json", "blob/aa/one.gz", b"one").await;
        show(&store, "m/b.json", "blob/aa/one2.gz", b"one").await;
        assert!(store.remove(&["m/a.json", "m/none.json", "none/at/all.json"]).await.is_empty());
        assert!(store.remove(&["m/a.json"]).await.is_empty());
        assert!(store.remove(&[]).await.is_empty());
        assert_eq!((public(&store, "m/a.json").await, public(&store, "m/b.json").await), (None, Some(b"one".to_vec())));
    });
}

#[test]
fn many_paths_are_removed() {
    on_each(&async |place, store| {
        store.create("blob/aa/one.gz", "one".into()).await.unwrap();
        let paths: Vec<String> = (0..1005).map(|at| format!("m/{at}.json")).collect();
        for paths in paths.chunks(64) {
            let attributes = attributes("public");
            let shown = join_all(paths.iter().map(|path| store.activate(path, "blob/aa/one.gz", &attributes))).await;
            shown.into_iter().for_each(Result::unwrap);
        }
        let names: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert!(store.remove(&names).await.is_empty());
        for path in [&paths[0], &paths[999], &paths[1004]] {
            assert_eq!(public(&store, path).await, None);
        }
        if let Place::Bucket(bucket) = place {
            assert_eq!(bucket.server.counts().deletes, 2, "a thousand go into one request");
        }
    });
}

#[test]
fn many_at_a_time() {
    on_each(&async |_, store| {
        let names: Vec<String> = (0..300).map(|at| format!("blob/{:02}/{at}.gz", at % 7)).collect();
        let creates = names.iter().map(|name| store.create(name, name.clone().into()));
        join_all(creates).await.into_iter().for_each(Result::unwrap);
        let reads = join_all(names.iter().map(|name| store.read(name))).await;
        for (name, read) in names.iter().zip(reads) {
            assert_eq!(read.unwrap().as_deref(), Some(name.as_bytes()));
        }
        let requests = store.requests();
        assert_eq!((requests.puts, requests.gets), (300, 300));
    });
}

#[test]
fn operations_can_move_between_threads() {
    on_each(&async |_, store| {
        let task = tokio::spawn(async move {
            store.create("blob/aa/one.gz", "one".into()).await?;
            store.activate("m/a.json", "blob/aa/one.gz", &attributes("public")).await?;
            store.read_public("m/a.json").await
        });
        assert_eq!(task.await.unwrap().unwrap().as_deref(), Some(&b"one"[..]));
    });
}

fn bucket(test: &impl AsyncFn(&Bucket, Arc<Store>)) {
    let bucket = Bucket::new();
    let store = Arc::new(bucket.store());
    runtime().block_on(test(&bucket, store));
}

#[test]
fn a_document_has_the_headers_of_its_policy() {
    bucket(&async |bucket, store| {
        for cache_control in ["public, max-age=60", "public, max-age=5, s-maxage=7"] {
            store.create("blob/aa/one.gz", "one".into()).await.unwrap();
            store.activate("m/a.json", "blob/aa/one.gz", &attributes(cache_control)).await.unwrap();
            let headers = bucket.headers("m/a.json");
            let expected = [
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
                ("cache-control", cache_control),
                ("x-amz-metadata-directive", "REPLACE"),
                ("x-amz-meta-cache-tag", "places,topic:crispr"),
                ("x-amz-meta-digest", "00ff"),
                ("x-amz-meta-serial", "7"),
                ("x-amz-meta-as-of", "2026-01-02T03:04:05Z"),
            ];
            for (name, value) in expected {
                assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
            }
        }
        let counts = bucket.server.counts();
        assert_eq!((counts.copies, counts.heads, counts.puts), (2, 1, 2), "one look at the first copy: {counts:?}");
    });
}

#[test]
fn a_store_that_can_not_copy_gets_the_bytes_again() {
    bucket(&async |bucket, store| {
        bucket.server.play(Fault::answer(501, "NotImplemented", "no copies here", |asked| asked.kind == Kind::Copy));
        for path in ["m/a.json", "m/b.json"] {
            show(&store, path, &format!("blob/aa/{}.gz", &path[2..3]), b"one").await;
            assert_eq!(public(&store, path).await.as_deref(), Some(&b"one"[..]));
            let headers = bucket.headers(path);
            assert_eq!(headers["content-encoding"], "gzip");
            assert_eq!(headers["cache-control"], "public, max-age=60");
            assert_eq!(headers["x-amz-meta-serial"], "7");
        }
        assert_eq!(bucket.server.counts().copies, 1, "it is asked once a run");
    });
}

#[test]
fn a_store_without_bulk_deletes_gets_single_ones() {
    bucket(&async |bucket, store| {
        show(&store, "m/a.json", "blob/aa/a.gz", b"one").await;
        show(&store, "m/b.json", "blob/aa/b.gz", b"one").await;
        let bulk = Fault::answer(501, "NotImplemented", "one by one", |asked| {
            asked.kind == Kind::Delete && asked.key.is_empty()
        });
        bucket.server.play(bulk);
        assert!(store.remove(&["m/a.json", "m/b.json"]).await.is_empty());
        assert!(bucket.paths().is_empty());
    });
}

#[test]
fn documents_stay_out_of_the_records_of_a_whole_bucket() {
    let bucket = Bucket::new();
    let store = bucket.store_at("");
    runtime().block_on(async {
        store.create("blob/aa/a.gz", "one".into()).await.unwrap();
        store.activate("m/a.json", "blob/aa/a.gz", &attributes("public")).await.unwrap();
        let error = store.activate("_tintype/head.json", "blob/aa/a.gz", &attributes("public")).await.unwrap_err();
        assert!(error.to_string().contains("among the store's own records"), "{error}");
        assert!(store.read_head().await.unwrap().is_none());
    });
}

#[test]
fn an_error_in_the_body_of_a_success_is_an_error() {
    bucket(&async |bucket, store| {
        store.create("blob/aa/a.gz", "one".into()).await.unwrap();
        let accident = Fault::answer(200, "InternalError", "in the middle", |asked| asked.kind == Kind::Copy).times(2);
        let accident = bucket.server.play(accident);
        store.activate("m/a.json", "blob/aa/a.gz", &attributes("public")).await.unwrap();
        assert_eq!((accident.struck(), bucket.has("m/a.json")), (2, true));
        bucket.server.play(Fault::answer(200, "AccessDenied", "not for you", |asked| asked.kind == Kind::Copy));
        let error = store.activate("m/b.json", "blob/aa/a.gz", &attributes("public")).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        assert!(!bucket.has("m/b.json"));
    });
}

#[test]
fn a_path_that_can_not_be_removed_is_told_and_the_others_are_gone() {
    const SOME: &str = "<DeleteResult><Error><Key>site/m/a.json</Key><Code>AccessDenied</Code><Message>held</Message>\
                        </Error></DeleteResult>";
    const BUSY: &str = "<DeleteResult><Error><Key>site/m/a.json</Key><Code>InternalError</Code><Message>busy</Message>\
                        </Error></DeleteResult>";
    const ANY: &str = "<DeleteResult><Error><Code>AccessDenied</Code><Message>held</Message></Error></DeleteResult>";
    bucket(&async |bucket, store| {
        let failed = async || {
            let failed = store.remove(&["m/a.json", "m/b.json"]).await;
            failed.into_iter().map(|(path, error)| format!("{path}: {error}")).collect::<Vec<_>>()
        };
        bucket.server.play(Fault::new(What::Say(SOME), |asked| asked.kind == Kind::Delete).times(1));
        let told = failed().await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("m/a.json: ") && told[0].contains("AccessDenied"), "{told:?}");
        // An error that names nothing may be about everything.
        bucket.server.play(Fault::new(What::Say(ANY), |asked| asked.kind == Kind::Delete).times(1));
        assert_eq!(failed().await.len(), 2);
        // What the SDK never sees is asked for again.
        bucket.server.play(Fault::new(What::Say(BUSY), |asked| asked.kind == Kind::Delete).times(2));
        assert_eq!(failed().await, Vec::<String>::new());
        assert_eq!(bucket.server.counts().deletes, 5);
    });
}

#[test]
fn headers_that_a_copy_drops_are_noticed() {
    bucket(&async |bucket, store| {
        show(&store, "m/a.json", "blob/aa/a.gz", b"one").await;
        // A store that answers HEAD without them, and one that keeps all but the digest.
        let without_digest = What::Headers(|headers| drop(headers.remove("x-amz-meta-digest")));
        for (path, dropped) in [("m/b.json", What::Say("")), ("m/c.json", without_digest)] {
            let again = bucket.store();
            bucket.server.play(Fault::new(dropped, |asked| asked.kind == Kind::Head).times(1));
            show(&again, path, &format!("blob/aa/{}.gz", &path[2..3]), b"two").await;
            assert_eq!(bucket.headers(path).get("x-amz-copy-source"), None, "it was copied and left at that");
            assert_eq!(bucket.headers(path)["cache-control"], "public, max-age=60");
            assert_eq!(public(&again, path).await.as_deref(), Some(&b"two"[..]));
        }
    });
}
