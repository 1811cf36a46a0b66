//! What a bucket, its edge and the network between hold, shared by every publisher of a test.
//!
//! Nothing here fails: a request that arrives is carried out at once and whole, as S3 does it, and `head.json` is the
//! only thing that a condition is asked of. What makes it a hard world is that a request may arrive late, after its
//! sender has ended and others have published, and that readers fetch through an edge at the worst of moments. Whatever
//! happens is put into a journal, so that a judge can tell afterwards what readers have seen and who undid what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::request::{Answer, Request};
use crate::snapshot::Digest;
use crate::store::attributes::CONTENT_ENCODING;
use crate::store::{Attributes, HeadObject, Headers, Listed, Page, Shown, Swap, Version};

/// A request that is older than this is refused, because its signature has expired: S3 allows the clocks of the two
/// sides to be 15 minutes apart. The protocol counts on that where it waits before it looks for what came late.
pub const SIGNED_FOR: Duration = Duration::from_mins(15);

/// When the world began, after 1970.
const BEGINNING: Duration = Duration::from_hours(500_000);

/// Whoever sends requests: a number that the test gives out.
pub type Sender = u32;

/// A document at a stable path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes, gzipped.
    pub bytes: Bytes,
    /// Its headers.
    pub attributes: Attributes,
}

/// Something that happened, in the order in which it did.
#[derive(Debug, Clone)]
pub enum Event {
    /// `head.json` was replaced.
    Head { by: Sender, bytes: Vec<u8> },
    /// A stable path came to show something, or nothing any more.
    Public { by: Sender, path: String, shown: Option<Document> },
    /// A control object was written under a name that had been used before.
    NameUsedTwice { by: Sender, name: String },
    /// A control object is gone.
    Deleted { by: Sender, name: String },
    /// A run sends requests without end.
    Endless { by: Sender },
    /// Whatever the test wants to find again at this place.
    Note(String),
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    written_at: Duration,
}

#[derive(Debug, Clone)]
struct Late {
    from: Sender,
    sent_at: Duration,
    request: Request,
}

/// The world.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// How old the world was when its time began to pass, and when that was; while a world is kept, its time stands still.
    began: (Duration, Option<Instant>),
    control: BTreeMap<String, Object>,
    /// Control objects that are gone, for a judge that wants to know what they said.
    gone: BTreeMap<String, Bytes>,
    public: BTreeMap<String, Document>,
    head: Option<(Vec<u8>, Duration)>,
    late: Vec<Late>,
    /// For every path what some edge may still answer: all that it has shown since it was last purged. There are many
    /// edges, and a reader asks one of them after every single request.
    edge: BTreeMap<String, BTreeSet<Option<Digest>>>,
    journal: Vec<Event>,
}

impl World {
    /// The time since the beginning of the world.
    fn now(&self) -> Duration {
        let (age, since) = self.began;
        age + since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// What the store's clock says.
    pub fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGINNING + self.now()
    }

    /// Lets time stand still until `go_on`.
    pub fn keep(&mut self) {
        self.began = (self.now(), None);
    }

    /// Lets time pass, as fast as it does in the runtime.
    pub fn go_on(&mut self) {
        self.began = (self.now(), Some(Instant::now()));
    }

    /// Carries out a request that has arrived.
    pub fn carry_out(&mut self, by: Sender, request: &Request) -> Answer {
        match request {
            Request::Create { name, bytes } => self.create(by, name, bytes),
            Request::Read { name } => Answer::Bytes(self.control.get(name).map(|object| object.bytes.clone())),
            Request::List { folder } => Answer::Names(self.list(folder)),
            Request::ListControl { prefix } => Answer::Page(self.control_page(prefix)),
            Request::ListPublic => Answer::Page(self.public_page()),
            Request::Look { path } => Answer::Seen(self.public.get(path).map(Document::told)),
            Request::ReadPublic { path } => Answer::Bytes(self.public.get(path).map(|shown| shown.bytes.clone())),
            Request::Show { path, blob, attributes } => self.show(by, path, blob, attributes),
            Request::Remove { paths } => {
                for path in paths {
                    self.put(by, path, None);
                }
                Answer::Done
            }
            Request::RemoveControl { names } => {
                for name in names {
                    self.delete(by, name);
                }
                Answer::Done
            }
            Request::ReadHead => Answer::Head(self.head.as_ref().map(|(bytes, written_at)| HeadObject {
                bytes: bytes.clone(),
                version: version(bytes),
                age: Some(self.now().saturating_sub(*written_at)),
            })),
            Request::SwapHead { expected, new } => Answer::Swapped(self.swap(by, expected.as_ref(), new)),
            Request::Purge { paths } => {
                self.purge(paths.as_deref());
                Answer::Done
            }
        }
    }

    fn create(&mut self, by: Sender, name: &str, bytes: &Bytes) -> Answer {
        let known = self.control.get(name).map(|object| &object.bytes).or_else(|| self.gone.get(name));
        if known.is_some_and(|known| known != bytes) {
            self.journal.push(Event::NameUsedTwice { by, name: name.to_owned() });
        }
        let object = Object { bytes: bytes.clone(), written_at: self.now() };
        self.control.insert(name.to_owned(), object);
        Answer::Done
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let names = self.control.keys().filter_map(|name| name.strip_prefix(folder));
        let mut names: Vec<String> =
            names.map(|rest| format!("{folder}{}", rest.split('/').next().unwrap_or(rest))).collect();
        names.dedup();
        names
    }

    fn control_page(&self, prefix: &str) -> Page {
        let listed = |(name, object): (&String, &Object)| Listed {
            name: name.clone(),
            size_bytes: object.bytes.len() as u64,
            modified: Some(SystemTime::UNIX_EPOCH + BEGINNING + object.written_at),
            is_document: true,
        };
        let objects = self.control.iter().filter(|(name, _)| name.starts_with(prefix)).map(listed).collect();
        Page { objects, now: Some(self.time_of_day()) }
    }

    fn public_page(&self) -> Page {
        let listed = |(path, document): (&String, &Document)| Listed {
            name: path.clone(),
            size_bytes: document.bytes.len() as u64,
            modified: None,
            is_document: true,
        };
        Page { objects: self.public.iter().map(listed).collect(), now: Some(self.time_of_day()) }
    }

    fn delete(&mut self, by: Sender, name: &str) {
        if let Some(object) = self.control.remove(name) {
            self.gone.insert(name.to_owned(), object.bytes);
            self.journal.push(Event::Deleted { by, name: name.to_owned() });
        }
    }

    fn show(&mut self, by: Sender, path: &str, blob: &str, attributes: &Attributes) -> Answer {
        let Some(object) = self.control.get(blob) else { return Answer::NoSuchKey };
        let shown = Document { bytes: object.bytes.clone(), attributes: attributes.clone() };
        self.put(by, path, Some(shown));
        Answer::Done
    }

    fn put(&mut self, by: Sender, path: &str, shown: Option<Document>) {
        let digest = |shown: &Document| Digest::of(&shown.bytes);
        let edge = self.edge.entry(path.to_owned()).or_default();
        edge.insert(self.public.get(path).map(digest));
        edge.insert(shown.as_ref().map(digest));
        match shown.clone() {
            Some(shown) => self.public.insert(path.to_owned(), shown),
            None => self.public.remove(path),
        };
        self.journal.push(Event::Public { by, path: path.to_owned(), shown });
    }

    fn swap(&mut self, by: Sender, expected: Option<&Version>, new: &[u8]) -> Swap {
        if self.head.as_ref().map(|(bytes, _)| version(bytes)).as_ref() != expected {
            return Swap::Refused;
        }
        self.head = Some((new.to_vec(), self.now()));
        self.journal.push(Event::Head { by, bytes: new.to_vec() });
        Swap::Swapped(version(new))
    }

    fn purge(&mut self, paths: Option<&[Arc<str>]>) {
        for (path, held) in &mut self.edge {
            if paths.is_none_or(|paths| paths.iter().any(|purged| **purged == **path)) {
                held.clear();
                held.insert(self.public.get(path).map(|shown| Digest::of(&shown.bytes)));
            }
        }
    }

    /// Keeps a request in the network.
    pub fn delay(&mut self, from: Sender, request: Request) {
        self.late.push(Late { from, sent_at: self.now(), request });
    }

    /// Carries out every request that is still in the network, but for those whose signature has expired.
    pub fn deliver(&mut self) {
        for Late { from, sent_at, request } in std::mem::take(&mut self.late) {
            if self.now().saturating_sub(sent_at) <= SIGNED_FOR {
                self.journal.push(Event::Note(format!("the late request of {from} arrives")));
                self.carry_out(from, &request);
            }
        }
    }

    /// Notes a run that sends requests without end.
    pub fn circles(&mut self, by: Sender) {
        self.journal.push(Event::Endless { by });
    }

    /// The same world, and in it every control object that there ever was.
    pub fn with_all_that_ever_was(&self) -> World {
        let mut world = self.clone();
        for (name, bytes) in std::mem::take(&mut world.gone) {
            world.control.entry(name).or_insert(Object { bytes, written_at: Duration::ZERO });
        }
        world
    }

    /// Writes into the journal.
    pub fn note(&mut self, text: impl Into<String>) {
        self.journal.push(Event::Note(text.into()));
    }

    /// Writes into the journal; its place there.
    pub fn observe(&mut self, text: impl Into<String>) -> usize {
        self.note(text);
        self.journal.len()
    }

    /// All that has happened.
    pub fn journal(&self) -> &[Event] {
        &self.journal
    }

    /// What readers see at the origin.
    pub fn public(&self) -> &BTreeMap<String, Document> {
        &self.public
    }

    /// The head's bytes.
    pub fn head(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(bytes, _)| bytes.as_slice())
    }

    /// A control object that is there.
    pub fn control(&self, name: &str) -> Option<&Bytes> {
        self.control.get(name).map(|object| &object.bytes)
    }

    /// The paths of which an edge may still hold something else than the origin shows.
    pub fn stale(&self) -> Vec<&str> {
        let is_current =
            |path: &str, held: &Option<Digest>| *held == self.public.get(path).map(|shown| Digest::of(&shown.bytes));
        let stale = self.edge.iter().filter(|(path, held)| !held.iter().all(|held| is_current(path, held)));
        stale.map(|(path, _)| path.as_str()).collect()
    }
}

impl Document {
    /// What the store tells of it without handing it over.
    fn told(&self) -> Shown {
        let metadata = self.attributes.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let headers = Headers {
            content_encoding: Some(CONTENT_ENCODING.to_owned()),
            cache_control: Some(self.attributes.cache_control.clone()),
            metadata,
        };
        Shown { size_bytes: self.bytes.len() as u64, headers: Some(headers), is_blob: false, has_twin: true }
    }
}

/// An `ETag` as S3 makes them, from the content alone: where bytes come back, so does their tag.
fn version(bytes: &[u8]) -> Version {
    Version::tag(Digest::of(bytes).to_string())
}
