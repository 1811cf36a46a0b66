//! An edge in this process that keeps whatever it has handed out, and everything that can be wrong with one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bucket::{BUCKET, Bucket};
use super::directory::Directory;

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// With these headers.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply { status, headers, body: body.to_owned() }
    }
}

#[derive(Default)]
struct State {
    kept: BTreeMap<String, Reply>,
    /// Paths that were purged, in order.
    purged: Vec<String>,
    /// After a purge, so many requests for a path still get what was kept.
    slow: u32,
    /// Requests that still get it, by path.
    leaving: BTreeMap<String, u32>,
    /// True to promise what isn't done.
    deaf: bool,
    /// What is answered to whatever.
    always: Option<Reply>,
    asked: Vec<String>,
}

/// The packed body of a path, if there is one.
type Origin = Arc<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;

/// The edge; its threads end with the process.
#[derive(Clone)]
pub struct FrozenEdge {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl FrozenEdge {
    /// In front of a folder.
    pub fn before(public: Directory) -> FrozenEdge {
        FrozenEdge::start(Arc::new(move |path| std::fs::read(public.file(path)).ok()))
    }

    /// In front of a bucket that everybody may read.
    pub fn before_bucket(bucket: &Bucket) -> FrozenEdge {
        let folder = bucket.server.file(&format!("{BUCKET}/site"));
        FrozenEdge::start(Arc::new(move |path| std::fs::read(folder.join(path)).ok()))
    }

    fn start(origin: Origin) -> FrozenEdge {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen");
        let address = listener.local_addr().expect("it has an address");
        let edge = FrozenEdge { address, state: Arc::default() };
        let serving = edge.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (edge, origin) = (serving.clone(), Arc::clone(&origin));
                std::thread::spawn(move || edge.serve(&stream, &origin));
            }
        });
        edge
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps this answer for a path.
    pub fn keep(&self, path: &str, reply: Reply) {
        self.state().kept.insert(path.to_owned(), reply);
    }

    /// Answers this to whatever is asked.
    pub fn always(&self, reply: Option<Reply>) {
        self.state().always = reply;
    }

    /// Forgets only after a path was asked for so often.
    pub fn slow(&self, requests: u32) {
        self.state().slow = requests;
    }

    /// Promises to forget, and doesn't.
    pub fn deaf(&self) {
        self.state().deaf = true;
    }

    /// The paths that were purged since the last call.
    pub fn purged(&self) -> Vec<String> {
        std::mem::take(&mut self.state().purged)
    }

    /// The paths that were fetched since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn serve(&self, stream: &TcpStream, origin: &Origin) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let mut words = line.split(' ').map(str::to_owned);
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut header = String::new();
            while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
                header.clear();
            }
            let reply = self.answer(&method, path.trim_start_matches('/'), origin);
            let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
            for (name, value) in &reply.headers {
                head += &format!("{name}: {value}\r\n");
            }
            let mut out = stream;
            if out.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| out.write_all(&reply.body)).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, origin: &Origin) -> Reply {
        let mut state = self.state();
        if method == "PURGE" {
            state.purged.push(path.to_owned());
            let slow = state.slow;
            match (state.deaf, slow) {
                (true, _) => {}
                (false, 0) => drop(state.kept.remove(path)),
                (false, slow) => drop(state.leaving.insert(path.to_owned(), slow)),
            }
            return Reply::new(200, &[], b"");
        }
        state.asked.push(path.to_owned());
        if let Some(reply) = &state.always {
            return reply.clone();
        }
        match state.leaving.get(path).copied() {
            Some(0) => {
                state.leaving.remove(path);
                state.kept.remove(path);
            }
            Some(left) => drop(state.leaving.insert(path.to_owned(), left - 1)),
            None => {}
        }
        let reply = match (state.kept.get(path), origin(path)) {
            (Some(kept), _) => kept.clone(),
            (None, Some(body)) => {
                let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip"), ("Age", "7")];
                Reply::new(200, &headers, &body)
            }
            (None, None) => Reply::new(404, &[], b""),
        };
        state.kept.insert(path.to_owned(), reply.clone());
        reply
    }
}
