//! The same document from the store, from the table and from the database: byte for byte, for every key of the demo, on both
//! engines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::support::demo_world::{self, TEMPLATES};
use crate::support::fallback::unpacked;
use crate::support::http::{Kept, Response};
use crate::support::postgres::Collation;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_for;

/// Readers at a time: as many as the server takes connections to its database, so that none has to wait for one.
const READERS: usize = 4;
/// One of so many documents is asked for gzipped as well.
const EVERY: usize = 50;
/// One of so many is asked of the database, which runs a query over 240,000 rows for each; all of them with
/// `EVERY_KEY=1 cargo test --release --test all serve_bytes`.
const LIVE: usize = 40;

/// The demo on both engines, with a table and limits that let one reader ask for everything.
fn demos() -> Vec<(&'static str, Project)> {
    let mut demos = vec![("SQLite", demo_world::sqlite())];
    if let Some(project) = demo_world::postgres(Collation::C) {
        let url = project.database().url();
        project.configure(&url, &format!("[fallback]\ntable_url = \"{url}\"\n"));
        demos.push(("PostgreSQL", project));
    }
    for (_, project) in &demos {
        for name in TEMPLATES {
            let text = std::fs::read_to_string(project.template_file(name)).expect("read the template");
            let limit = text.lines().find(|line| line.starts_with("per_minute")).expect("a limit").to_owned();
            project.template(name, &text.replace(&limit, "per_minute = 60000"));
        }
    }
    demos
}

/// What every source has to say of a document.
#[derive(Debug, PartialEq, Eq)]
struct Document {
    body: Vec<u8>,
    etag: String,
    tags: String,
    /// True where an edge may keep it.
    is_kept: bool,
}

impl Document {
    fn published(body: Vec<u8>, tags: String) -> Self {
        let digest: String = Sha256::digest(&body).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { body, etag: digest, tags, is_kept: true }
    }

    /// Fails unless an answer is this document as it is.
    #[track_caller]
    fn is(&self, path: &str, answer: &Response) {
        let source = answer.header("x-tintype-source");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.body == self.body, "{path}: {source} has other bytes: {}", answer.text());
        assert_eq!(answer.header("content-encoding"), "", "{path}");
        self.is_described(path, answer, "");
    }

    /// The headers that tell what it is, and do not depend on where it comes from.
    #[track_caller]
    fn is_described(&self, path: &str, answer: &Response, ending: &str) {
        assert_eq!(answer.header("etag"), format!("\"{}{ending}\"", self.etag), "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        assert_eq!(answer.header("cache-tag"), self.tags, "{path}");
        assert_eq!(answer.header("vary"), "Accept-Encoding", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let control = answer.header("cache-control");
        let is_kept = control.starts_with("public, max-age=") && control.contains(", s-maxage=");
        assert!(if self.is_kept { is_kept } else { control == "no-store" }, "{path}: {control}");
        assert!(answer.header("x-tintype-as-of").ends_with('Z'), "{path}: {:?}", answer.headers);
    }

    /// The same gzipped, which is remembered by now, and nothing where the reader has it.
    #[track_caller]
    fn is_gzipped_too(&self, path: &str, connection: &mut Kept) {
        let gzip = connection.get(&format!("/{path}"), &[("Accept-Encoding", "gzip")]);
        assert_eq!((gzip.header("content-encoding"), gzip.header("x-tintype-source")), ("gzip", "memory"), "{path}");
        assert!(unpacked(&gzip.body) == self.body, "{path}: other bytes in the gzip");
        self.is_described(path, &gzip, "-gz");
        let known =
            connection.get(&format!("/{path}"), &[("Accept-Encoding", "gzip"), ("If-None-Match", gzip.header("etag"))]);
        assert_eq!(known.status, 304, "{path}");
    }
}

/// Asks for every document, until each has come from this source: while it takes its time another one may stand in. `start`
/// starts a server that remembers nothing.
fn all_come_from(start: impl Fn() -> Serving, source: &str, documents: &BTreeMap<String, Document>) {
    let mut left: Vec<_> = documents.iter().collect();
    for round in 1.. {
        let server = start();
        let others = come_from_others(&server, source, &left);
        server.end().expect(0);
        assert!(
            others.len() * 10 < left.len(),
            "{} of {} weren't answered from the {source}",
            others.len(),
            left.len()
        );
        tell(&format!("round {round}: {} of {} documents from the {source}", left.len() - others.len(), left.len()));
        left = others;
        if left.is_empty() {
            return;
        }
    }
}

/// Asks for these documents; those that came from elsewhere, right as they were.
fn come_from_others<'a>(
    server: &Serving,
    source: &str,
    documents: &[(&'a String, &'a Document)],
) -> Vec<(&'a String, &'a Document)> {
    let ask = |part: &[(&'a String, &'a Document)]| {
        let mut connection = Kept::open(server.address);
        let mut others = Vec::new();
        for (at, (path, document)) in part.iter().enumerate() {
            let answer = connection.get(&format!("/{path}"), &[]);
            document.is(path, &answer);
            if answer.header("x-tintype-source") != source {
                others.push((*path, *document));
            }
            if at % EVERY == 0 {
                document.is_gzipped_too(path, &mut connection);
            }
        }
        others
    };
    std::thread::scope(|scope| {
        let parts = documents.chunks(documents.len().div_ceil(READERS));
        let readers: Vec<_> = parts.map(|part| scope.spawn(move || ask(part))).collect();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    })
}

/// Moves folders of a project away, and brings them back when dropped.
struct Away(Vec<(PathBuf, PathBuf)>);

impl Away {
    fn of(root: &Path, folders: &[&str]) -> Self {
        let away = |folder: &&str| {
            let (here, there) = (root.join(folder), root.join(format!("{folder}-away")));
            std::fs::rename(&here, &there).expect("move a folder away");
            (here, there)
        };
        Self(folders.iter().map(away).collect())
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        for (here, there) in &self.0 {
            let _ = std::fs::rename(there, here);
        }
    }
}

/// The documents of a release as they are published. The tags are filled in from the object path alone.
fn documents(project: &Project) -> BTreeMap<String, Document> {
    let public = project.public();
    let document = |path: String| {
        let document = Document::published(public.body(&path), tags(&path));
        (path, document)
    };
    public.all_paths().into_iter().map(document).collect()
}

/// What the shipped templates write as `cache_tags`.
fn tags(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match *parts.as_slice() {
        ["world-map", topic, _] => format!("world-map,topic:{topic}"),
        ["country-map", region, topic, _] => format!("country-map,region:{region},topic:{topic}"),
        ["city-map", region, _, topic, _] => format!("city-map,region:{region},topic:{topic}"),
        _ => "index".to_owned(),
    }
}

/// A figure for whoever runs the test.
#[expect(clippy::print_stdout, reason = "a figure for whoever runs it")]
fn tell(what: &str) {
    println!("{what}");
}

#[test]
fn the_keys_of_the_demo_have_the_same_bytes_from_every_source_on_both_engines() {
    let mut digests: Option<BTreeMap<String, String>> = None;
    for (engine, project) in demos() {
        project.publish();
        let mut documents = documents(&project);
        assert!(documents.len() > 10_000, "{engine}: {} documents", documents.len());
        all_come_from(|| Serving::start(&project), "store", &documents);
        {
            let _bodies = Away::of(project.root(), &[".tintype/blob"]);
            all_come_from(|| Serving::start(&project), "table", &documents);
        }
        // Of the catalogue the database knows nothing.
        documents.retain(|path, _| !path.starts_with("index"));
        let seen = documents.iter().map(|(path, document)| (path.clone(), document.etag.clone())).collect();
        let step = if std::env::var_os("EVERY_KEY").is_some() { 1 } else { LIVE };
        let mut at = 0;
        documents.retain(|_, _| {
            at += 1;
            at % step == 0
        });
        // Who has seen no release gives nothing to edges.
        for document in documents.values_mut() {
            document.is_kept = false;
        }
        {
            let _site = Away::of(project.root(), &[".tintype", "public"]);
            let start = || {
                let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
                Serving::of(command.env("TINTYPE_FALLBACK_TABLE", "false"))
            };
            all_come_from(start, "live", &documents);
        }
        tell(&format!("{engine}: {} documents were asked of the database", documents.len()));
        match &digests {
            None => digests = Some(seen),
            Some(first) => assert!(*first == seen, "{engine}: other documents than on the first engine"),
        }
    }
}

#[test]
fn a_topic_that_is_added_at_noon_is_answered_live_before_the_next_build() {
    for (engine, project) in demos() {
        project.publish();
        let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        let command = command.env("TINTYPE_FALLBACK_REREAD", "1s").env("TINTYPE_FALLBACK_FOLLOW", "1s");
        let server = Serving::of(command);
        let city = project.public().paths_of("city-map").remove(0);
        let country = project.public().paths_of("country-map").remove(0);
        let named = |path: &str| {
            let mut parts: Vec<&str> = path.split('/').collect();
            let topic = parts.len() - 2;
            parts[topic] = "noon";
            parts.join("/")
        };
        let paths = ["world-map/noon/low.json".to_owned(), named(&country), named(&city)];
        for path in &paths {
            assert_eq!(server.get(&format!("/{path}")).status, 404, "{engine}: {path}");
        }
        // A new topic, and a paper about it by everybody who has signed the first paper.
        project.execute(
            "INSERT INTO topic VALUES (9999, 'noon', 'Noon', 0); \
             INSERT INTO paper SELECT 1 + max(pmid), 9999, 2025 FROM paper; \
             INSERT INTO authorship SELECT authorship_id + 10000000, (SELECT max(pmid) FROM paper), author_id, institution_id, \
             country, city, affiliation_confidence FROM authorship WHERE pmid = (SELECT min(pmid) FROM authorship)",
        );
        let live: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| {
                let answer = wait_for("the new topic", Duration::from_secs(30), || {
                    Some(server.get(&format!("/{path}"))).filter(|answer| answer.status == 200)
                });
                assert_eq!(answer.header("x-tintype-source"), "live", "{engine}: {path}");
                unpacked(&answer.body)
            })
            .collect();
        assert!(String::from_utf8_lossy(&live[0]).contains("scholars\":"), "{engine}: nobody works on the new topic");
        // Another name that nobody has is still nobody's.
        assert_eq!(server.get("/world-map/midnight/low.json").status, 404, "{engine}");
        project.publish();
        wait_for("the release", Duration::from_secs(30), || {
            (server.metric("tintype_release_serial") == 2).then_some(())
        });
        for (path, live) in paths.iter().zip(&live) {
            assert!(project.public().body(path) == *live, "{engine}: {path} isn't what the build made of it");
            assert!(unpacked(&server.get(&format!("/{path}")).body) == *live, "{engine}: {path}");
        }
        server.end().expect(0);
    }
}
