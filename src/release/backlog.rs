//! The backlog between the stream of rows and the threads that finish documents.
//!
//! The stream holds a database connection, and compressing and storing can take far longer than the query. So what
//! the threads don't take at once waits here: in memory up to a limit, beyond that in a temporary file, which is
//! unlinked as soon as it is made and goes with the process. Only if that file can't grow does the stream wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::StoreError;

/// Bytes of bodies that wait in memory: a few documents keep the threads busy, the rest is for hiccups.
const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// Documents in a chunk.
const CHUNK: usize = 1024;

/// Something with a body that may wait in the file.
pub trait HasBody {
    /// The body.
    fn body(&mut self) -> &mut Vec<u8>;
}

/// Documents on their way from some threads to some others, in no particular order.
pub struct Backlog<T> {
    state: Mutex<State<T>>,
    /// Something to take, or the end.
    filled: Condvar,
    /// Room in memory, or the end.
    drained: Condvar,
    limit: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Bytes of the bodies among them.
    bytes: usize,
    /// Those whose bodies are in the file, in chunks: a queue of a million would keep its room until the end.
    spilled: Vec<Vec<Spilled<T>>>,
    spool: Spool,
    /// Nothing more will be put.
    complete: bool,
    /// Nothing more will be taken.
    abandoned: bool,
}

/// A document whose body is in the file.
struct Spilled<T> {
    document: T,
    start: u64,
    length: usize,
}

#[derive(Default)]
struct Spool {
    file: Option<Arc<File>>,
    /// Where the next body goes.
    end: u64,
    /// Bodies that threads are reading at this moment.
    readers: usize,
    /// True once the file couldn't grow; false again when all of it was read.
    is_full: bool,
    /// True once the file couldn't be made.
    is_impossible: bool,
    /// True once somebody was told.
    is_told: bool,
}

impl<T: HasBody> Default for Backlog<T> {
    fn default() -> Backlog<T> {
        Backlog::new(MEMORY_BYTES)
    }
}

impl<T: HasBody> Backlog<T> {
    /// A backlog that holds `limit` bytes in memory, or one larger document.
    pub fn new(limit: usize) -> Backlog<T> {
        Backlog { state: Mutex::new(State::empty()), filled: Condvar::new(), drained: Condvar::new(), limit }
    }

    /// Puts a document; `false` if nobody takes any more.
    pub fn put(&self, mut document: T) -> bool {
        let mut state = self.lock();
        loop {
            if state.abandoned {
                return false;
            }
            let size = document.body().len();
            if state.waiting.is_empty() || state.bytes + size <= self.limit {
                state.bytes += size;
                state.waiting.push_back(document);
                break;
            }
            match state.spill(document) {
                None => break,
                Some(back) => document = back,
            }
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.filled.notify_one();
        true
    }

    /// Takes a document; none once all are taken.
    pub fn take(&self) -> Result<Option<T>, StoreError> {
        let mut state = self.lock();
        loop {
            if let Some(mut document) = state.waiting.pop_front() {
                state.bytes -= document.body().len();
                self.drained.notify_one();
                return Ok(Some(document));
            }
            if let Some(spilled) = state.pop_spilled() {
                return self.read(state, spilled).map(Some);
            }
            if state.complete || state.abandoned {
                return Ok(None);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn read(&self, mut state: MutexGuard<'_, State<T>>, spilled: Spilled<T>) -> Result<T, StoreError> {
        let Spilled { mut document, start, length } = spilled;
        let file = state.spool.file.clone();
        state.spool.readers += 1;
        drop(state);
        *document.body() = vec![0; length];
        let read = match file {
            Some(file) => file.read_exact_at(document.body(), start),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let mut state = self.lock();
        state.spool.readers -= 1;
        if state.spilled.is_empty() && state.spool.readers == 0 {
            // Nothing in the file is needed any more, so it is written from its beginning again.
            state.spool.end = 0;
            state.spool.is_full = false;
        }
        self.drained.notify_one();
        read.map(|()| document).map_err(|error| StoreError {
            action: "read back",
            object: format!("a temporary file in {}", folder().display()),
            reason: error.to_string(),
            hint: Some("TMPDIR can name another folder for it".to_owned()),
            is_general: true,
        })
    }

    /// Says that nothing more will be put.
    pub fn complete(&self) {
        self.lock().complete = true;
        self.filled.notify_all();
    }

    /// Says that nothing more will be taken, and forgets what is left.
    pub fn abandon(&self) {
        let mut state = self.lock();
        // What is read from the file at this moment still counts its readers.
        let spool = std::mem::take(&mut state.spool);
        let forgotten = std::mem::replace(&mut *state, State { abandoned: true, spool, ..State::empty() });
        drop(state);
        drop(forgotten);
        self.filled.notify_all();
        self.drained.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // What a thread that panicked leaves behind is a queue like any other.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: HasBody> State<T> {
    fn empty() -> State<T> {
        State {
            waiting: VecDeque::new(),
            bytes: 0,
            spilled: Vec::new(),
            spool: Spool::default(),
            complete: false,
            abandoned: false,
        }
    }

    fn push_spilled(&mut self, spilled: Spilled<T>) {
        if self.spilled.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.spilled.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.spilled.last_mut() {
            chunk.push(spilled);
        }
    }

    fn pop_spilled(&mut self) -> Option<Spilled<T>> {
        let spilled = self.spilled.last_mut()?.pop();
        if self.spilled.last().is_some_and(Vec::is_empty) {
            self.spilled.pop();
        }
        spilled
    }

    /// Puts a document's body into the file; gives it back if that can't be done.
    fn spill(&mut self, mut document: T) -> Option<T> {
        if self.spool.is_full || self.spool.is_impossible {
            return Some(document);
        }
        match self.spool.append(document.body()) {
            Ok(start) => {
                let length = std::mem::take(document.body()).len();
                self.push_spilled(Spilled { document, start, length });
                None
            }
            Err(error) => {
                self.spool.is_impossible = self.spool.file.is_none();
                self.spool.is_full = self.spool.end > 0;
                if !std::mem::replace(&mut self.spool.is_told, true) {
                    let folder = folder();
                    tracing::warn!(%error, folder = %folder.display(), "no room for what waits to be stored, so the query waits with it; TMPDIR can name another folder");
                }
                Some(document)
            }
        }
    }
}

/// Where the file goes: what TMPDIR says; else where temporary files may be large, because `/tmp` is memory on many
/// machines.
fn folder() -> PathBuf {
    const LARGE: &str = "/var/tmp";
    match std::env::var_os("TMPDIR") {
        None if Path::new(LARGE).is_dir() => PathBuf::from(LARGE),
        _ => std::env::temp_dir(),
    }
}

/// Makes the file, in any folder for temporary files that takes it.
fn made() -> io::Result<File> {
    tempfile::tempfile_in(folder()).or_else(|_| tempfile::tempfile())
}

impl Spool {
    fn append(&mut self, body: &[u8]) -> io::Result<u64> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(made()?)),
        };
        let start = self.end;
        file.write_all_at(body, start)?;
        self.end += u64::try_from(body.len()).unwrap_or(u64::MAX);
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key, KeyValue};
    use crate::snapshot::Snapshot;

    impl HasBody for Snapshot {
        fn body(&mut self) -> &mut Vec<u8> {
            &mut self.body
        }
    }

    fn document(number: usize) -> Snapshot {
        let key = Key(vec![KeyValue::Integer(i64::try_from(number).unwrap())]);
        Snapshot { key, path: number.to_string().into(), body: number.to_string().repeat(100).into(), rows: 1 }
    }

    #[test]
    fn everything_that_was_put_is_taken_whole_once() {
        // Room for two or three documents: nearly all of them go through the file, which is begun anew now and then.
        let backlog = Backlog::new(1000);
        let count = 3000;
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(document) = backlog.take().unwrap() {
                        taken.lock().unwrap().push(document);
                    }
                });
            }
            for number in 0..count {
                assert!(backlog.put(document(number)));
            }
            backlog.complete();
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort_by_key(|document| document.key.clone());
        assert_eq!(taken.len(), count);
        for (number, found) in taken.iter().enumerate() {
            let expected = document(number);
            assert_eq!((&found.key, &found.path, &found.body), (&expected.key, &expected.path, &expected.body));
        }
    }

    #[test]
    fn nobody_waits_for_threads_that_are_gone() {
        let backlog = Backlog::new(1000);
        for number in 0..100 {
            assert!(backlog.put(document(number)));
        }
        assert!(backlog.lock().spilled.iter().flatten().count() > 50, "there was room for few");
        backlog.abandon();
        assert!(!backlog.put(document(100)));
        assert!(backlog.take().unwrap().is_none());
    }

    #[test]
    fn a_document_larger_than_the_memory_passes() {
        let backlog = Backlog::new(10);
        assert!(backlog.put(document(1234)));
        assert_eq!(backlog.take().unwrap().unwrap().body.len(), 400);
    }

    #[test]
    fn without_room_for_the_file_the_stream_waits() {
        let backlog = Backlog::new(500);
        backlog.lock().spool =
            Spool { file: Some(Arc::new(File::open("/dev/null").unwrap())), end: 1, ..Spool::default() };
        std::thread::scope(|scope| {
            let put = scope.spawn(|| (1000..1050).all(|number| backlog.put(document(number))));
            // Nobody takes anything before the memory is full, or there would be no need of the file.
            let began = std::time::Instant::now();
            while !backlog.lock().spool.is_told {
                assert!(began.elapsed().as_secs() < 60, "it isn't told that the file takes nothing");
                std::thread::yield_now();
            }
            for _ in 0..50 {
                assert!(backlog.take().unwrap().is_some());
            }
            assert!(put.join().unwrap());
        });
    }
}
