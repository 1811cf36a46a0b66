//! Listings with sizes and ages, what is told of a path, and the removal of control objects.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tintype::store::{Listed, Part, Store};

use super::{Place, attributes, bucket, on_each, public, show};
use crate::support::s3_server::{Fault, Kind, What};

/// Everything that a listing gives, by name; every page must tell the time.
async fn listed(store: &Store, part: Part<'_>) -> BTreeMap<String, Listed> {
    let mut listing = store.listing(part);
    let mut found = BTreeMap::new();
    while let Some(page) = listing.next().await.expect("list the store") {
        assert!(page.objects.len() <= 1000, "a page of {}", page.objects.len());
        let now = page.now.expect("the store's clock");
        for object in page.objects {
            let age = now.duration_since(object.modified.expect("an age")).unwrap_or_default();
            assert!(age < Duration::from_mins(1), "{object:?} at {now:?}");
            assert!(found.insert(object.name.clone(), object).is_none(), "an object is listed twice");
        }
    }
    found
}

fn sizes(listed: &BTreeMap<String, Listed>) -> Vec<(&str, u64)> {
    listed.values().map(|object| (object.name.as_str(), object.size_bytes)).collect()
}

#[test]
fn control_objects_are_listed_by_what_their_names_begin_with() {
    on_each(&async |_, store| {
        assert!(listed(&store, Part::Control("blob/")).await.is_empty());
        let names: Vec<String> = (0..1030).map(|at| format!("blob/{:02x}/{at:04}-run.gz", at % 7)).collect();
        for names in names.chunks(64) {
            let creates = names.iter().map(|name| store.create(name, name.clone().into()));
            join_all(creates).await.into_iter().for_each(Result::unwrap);
        }
        store.create("release/1-a.json", "{}".into()).await.unwrap();
        store.create("shard/r/places.jsonl.gz", "rows".into()).await.unwrap();
        show(&store, "blob/x.json", "blob/ff/x.gz", b"x").await;
        let blobs = listed(&store, Part::Control("blob/")).await;
        assert_eq!(blobs.len(), 1031);
        assert!(names.iter().all(|name| blobs[name].size_bytes == name.len() as u64 && blobs[name].is_document));
        assert_eq!(sizes(&listed(&store, Part::Control("release/")).await), [("release/1-a.json", 2)]);
        assert_eq!(sizes(&listed(&store, Part::Control("shard/")).await), [("shard/r/places.jsonl.gz", 4)]);
        let some = listed(&store, Part::Control("blob/00/010")).await;
        assert_eq!(sizes(&some), [("blob/00/0105-run.gz", 19)]);
        assert!(listed(&store, Part::Control("nothing/of/this")).await.is_empty());
    });
}

#[test]
fn the_public_part_is_listed_without_the_records() {
    on_each(&async |place, store| {
        assert!(listed(&store, Part::Public).await.is_empty());
        let catalogue = gzip(b"{\"templates\":{}}");
        show(&store, "index.json", "blob/aa/index.gz", &catalogue).await;
        show(&store, "m/a b/c.json", "blob/aa/c.gz", b"one").await;
        show(&store, "m/d.json", "blob/aa/d.gz", b"four").await;
        let expected = [("index.json", catalogue.len() as u64), ("m/a b/c.json", 3), ("m/d.json", 4)];
        assert_eq!(sizes(&listed(&store, Part::Public).await), expected);
        if let Place::Directory(folder) = place {
            let public = folder.path().join("public");
            for name in ["robots.txt", "m/d.html.gz", ".tintype-0.tmp", ".tintype-tmp/1", "index.json.bak"] {
                let file = public.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, "x").unwrap();
            }
            std::os::unix::fs::symlink(folder.path(), public.join("link")).unwrap();
            std::fs::remove_file(public.join("index.json.gz")).unwrap();
            let found = listed(&store, Part::Public).await;
            let aside: Vec<&str> =
                found.values().filter(|object| !object.is_document).map(|o| o.name.as_str()).collect();
            assert_eq!(aside, ["index.json", "index.json.bak", "link", "m/d.html.gz", "robots.txt"]);
            assert_eq!(found.len(), aside.len() + 2);
        }
    });
    let bucket = crate::support::bucket::Bucket::new();
    let whole = bucket.store_at("");
    crate::support::postgres::runtime().block_on(async {
        show(&whole, "m/a.json", "blob/aa/a.gz", b"one").await;
        assert_eq!(sizes(&listed(&whole, Part::Public).await), [("m/a.json", 3)]);
    });
}

#[test]
fn a_listing_that_breaks_off_is_an_error() {
    bucket(&async |bucket, store| {
        show(&store, "m/a.json", "blob/aa/a.gz", b"one").await;
        bucket.server.play(Fault::answer(403, "AccessDenied", "not for you", |asked| asked.kind == Kind::List));
        let error = store.listing(Part::Public).next().await.unwrap_err();
        assert!(
            error.to_string().contains("can't list s3://") && error.to_string().contains("AccessDenied"),
            "{error}"
        );
    });
}

#[test]
fn a_path_tells_what_it_shows() {
    on_each(&async |place, store| {
        assert_eq!(store.head_public("m/a.json", "blob/aa/one.gz").await.unwrap(), None);
        show(&store, "m/a.json", "blob/aa/one.gz", b"one").await;
        store.create("blob/bb/same.gz", "one".into()).await.unwrap();
        let shown = store.head_public("m/a.json", "blob/aa/one.gz").await.unwrap().unwrap();
        let other = store.head_public("m/a.json", "blob/bb/same.gz").await.unwrap().unwrap();
        assert_eq!((shown.size_bytes, shown.has_twin), (3, true));
        if matches!(place, Place::Bucket(_)) {
            let headers = shown.headers.unwrap();
            assert_eq!(headers.digest(), Some("00ff"));
            assert!(
                headers.serve(&attributes("public, max-age=60")) && headers.keep(&attributes("public, max-age=60"))
            );
            assert!(!headers.serve(&attributes("public")));
            let mut later = attributes("public, max-age=60");
            later.serial = 8;
            assert!(headers.serve(&later) && !headers.keep(&later));
            later.cache_tags.pop();
            assert!(!headers.serve(&later));
        } else {
            assert_eq!((shown.headers, shown.is_blob, other.is_blob), (None, true, false));
        }
    });
}

#[test]
fn a_file_of_the_catalogue_has_a_twin_in_a_directory() {
    on_each(&async |place, store| {
        let Place::Directory(folder) = place else { return };
        show(&store, "index.json", "blob/aa/one.gz", &gzip(b"{}")).await;
        let has_twin = async || store.head_public("index.json", "blob/aa/one.gz").await.unwrap().unwrap().has_twin;
        assert!(has_twin().await);
        let twin = folder.path().join("public/index.json");
        std::fs::remove_file(&twin).unwrap();
        assert!(!has_twin().await);
        std::fs::write(&twin, "{ }").unwrap();
        assert!(!has_twin().await);
        store.activate("index.json", "blob/aa/one.gz", &attributes("public")).await.unwrap();
        assert!(has_twin().await);
    });
}

#[test]
fn control_objects_are_removed_and_those_that_the_store_works_with_are_not() {
    on_each(&async |place, store| {
        show(&store, "m/a.json", "blob/aa/0000.gz", b"shown").await;
        let names: Vec<String> = (1..1005).map(|at| format!("blob/aa/{at:04}.gz")).collect();
        for names in names.chunks(64) {
            let creates = names.iter().map(|name| store.create(name, "x".into()));
            join_all(creates).await.into_iter().for_each(Result::unwrap);
        }
        store.create("shard/r/a.jsonl.gz", "rows".into()).await.unwrap();
        store.swap_head(None, b"{}".to_vec()).await.unwrap();
        let names: Vec<&str> =
            names.iter().map(String::as_str).chain(["shard/r/a.jsonl.gz", "blob/aa/gone.gz"]).collect();
        assert!(store.remove_control(&names).await.is_empty());
        assert_eq!(listed(&store, Part::Control("blob/")).await.len(), 1);
        assert!(listed(&store, Part::Control("shard/")).await.is_empty());
        assert_eq!(public(&store, "m/a.json").await.as_deref(), Some(&b"shown"[..]));
        match place {
            Place::Bucket(bucket) => assert_eq!(bucket.server.counts().deletes, 2, "a thousand go into one request"),
            Place::Directory(folder) => {
                assert!(!folder.path().join(".tintype/shard/r").exists(), "an empty folder is left");
            }
        }
        let refused = store.remove_control(&["head.json", "store.json", "blob/aa/0000.gz"]).await;
        let refused: Vec<&str> = refused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(refused, ["head.json", "store.json"]);
        assert!(store.read_head().await.unwrap().is_some());
    });
}

#[test]
fn a_control_object_that_can_not_be_removed_is_told() {
    const HELD: &str = "<DeleteResult><Error><Key>_tintype/site/blob/aa/a.gz</Key><Code>AccessDenied</Code>\
                        <Message>held</Message></Error></DeleteResult>";
    bucket(&async |bucket, store| {
        bucket.server.play(Fault::new(What::Say(HELD), |asked| asked.kind == Kind::Delete).times(1));
        let failed = store.remove_control(&["blob/aa/a.gz", "blob/aa/b.gz"]).await;
        let [(name, error)] = failed.as_slice() else { panic!("{failed:?}") };
        assert!(name == "blob/aa/a.gz" && error.to_string().contains("AccessDenied"), "{error}");
    });
}

/// A body as it is stored.
fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).expect("compress");
    gzip.finish().expect("compress")
}

/// What the ages of a listing are measured by goes on.
#[test]
fn the_clock_of_a_listing_is_the_stores() {
    bucket(&async |bucket, store| {
        show(&store, "m/a.json", "blob/aa/a.gz", b"one").await;
        bucket.server.play(Fault::new(
            What::Headers(|headers| {
                headers.insert("date", "Tue, 01 Jan 2030 00:00:00 GMT".parse().unwrap());
            }),
            |asked| asked.kind == Kind::List,
        ));
        let page = store.listing(Part::Public).next().await.unwrap().unwrap();
        let new_year = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 21_915);
        assert_eq!(page.now, Some(new_year));
    });
}
