//! The real binary, started as a user would start it, with nothing of the developer's environment in it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait::{POLL, wait_for};

/// A command line of `tintype` that hasn't been started.
pub struct Tintype {
    program: PathBuf,
    /// Words of a shell that prepares the process; empty for none.
    prepare: Option<&'static str>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    user: Option<u32>,
    timeout: Duration,
}

impl Tintype {
    /// `tintype` with these arguments.
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: env!("CARGO_BIN_EXE_tintype").into(),
            prepare: None,
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            environment: Vec::new(),
            directory: None,
            user: None,
            // Wide: two cores run several debug builds of the product at once. It is there to end a hang.
            timeout: Duration::from_mins(3),
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Adds one variable to the environment, which holds only `PATH` and `HOME` otherwise.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts in this directory instead of the empty `HOME`.
    pub fn in_directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Fails the test when the process lives longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts `program` in place of the binary.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Starts `program`, a copy of the binary, as the unprivileged user 65534 when the tests run as root: no mode of a
    /// file stops root.
    pub fn unprivileged(mut self, program: PathBuf) -> Self {
        self.program = program;
        if rustix::process::geteuid().is_root() {
            self.user = Some(65534);
        }
        self
    }

    /// Lets no file grow beyond 16 KiB. A write beyond brings SIGXFSZ, and fails as on a full disk if that is survived.
    pub fn small_files(mut self) -> Self {
        self.prepare = Some(r#"ulimit -f 16; exec "$0" "$@""#);
        self
    }

    /// Lets no more than 128 files be open at a time, unless the process raises that limit, which it may or may not.
    pub fn few_files(mut self, may_raise: bool) -> Self {
        self.prepare =
            Some(if may_raise { r#"ulimit -S -n 128; exec "$0" "$@""# } else { r#"ulimit -n 128; exec "$0" "$@""# });
        self
    }

    /// Starts the process and leaves it running.
    pub fn start(self) -> Running {
        let home = tempfile::tempdir().expect("make a home directory");
        let mut command = match self.prepare {
            None => Command::new(&self.program),
            Some(script) => {
                let mut command = Command::new("bash");
                command.arg("-c").arg(script).arg(&self.program);
                command
            }
        };
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .envs(self.environment)
            .current_dir(self.directory.as_deref().unwrap_or(home.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let mut words = String::from("tintype");
        for argument in &self.arguments {
            write!(words, " {}", argument.to_string_lossy()).expect("a string takes all");
        }
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let stdout = Stream::read(child.stdout.take().expect("stdout is piped"));
        let stderr = Stream::read(child.stderr.take().expect("stderr is piped"));
        Running {
            words,
            child,
            stdout,
            stderr,
            began: Instant::now(),
            timeout: self.timeout,
            peak_memory_bytes: 0,
            _home: home,
        }
    }

    /// Runs the process to its end.
    pub fn run(self) -> Finished {
        self.start().finish()
    }
}

/// A started process; killed when dropped.
pub struct Running {
    words: String,
    child: Child,
    stdout: Stream,
    stderr: Stream,
    began: Instant,
    timeout: Duration,
    peak_memory_bytes: u64,
    _home: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Sends a signal; one sent to a process that has just ended is nothing to complain of.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("ask for the process").is_some()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Waits until `condition` yields something; fails at once, with both streams, when the process ends before.
    pub fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        wait_for(what, Duration::MAX, || {
            // Looked at before the condition, so that what a process did last counts.
            let ended = self.child.try_wait().expect("ask for the process");
            let found = condition(self);
            assert!(
                found.is_some() || self.began.elapsed() < self.timeout,
                "waited {:.1?} of `{}` for {what}, in vain\n{}",
                self.timeout,
                self.words,
                self.streams()
            );
            assert!(
                found.is_some() || ended.is_none(),
                "`{}` ended ({ended:?}) before {what}\n{}",
                self.words,
                self.streams()
            );
            found
        })
    }

    /// Waits until a server names its address (`http://…`) on either stream.
    pub fn address(&mut self) -> SocketAddr {
        self.wait_for("the address it serves", |running| {
            let text = running.stdout() + "\n" + &running.stderr();
            // Only whole lines: the port may not have been written to its end.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.flat_map(|line| line.split("http://").skip(1)).find_map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
                rest[..end].trim_end_matches([':', '.']).parse().ok()
            })
        })
    }

    /// Waits for the end; kills the process and fails when it doesn't come in time.
    pub fn finish(mut self) -> Finished {
        let status = loop {
            self.note_memory();
            if let Some(status) = self.child.try_wait().expect("ask for the process") {
                break status;
            }
            if self.began.elapsed() > self.timeout {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("`{}` did not end within {:?}\n{}", self.words, self.timeout, self.streams());
            }
            std::thread::sleep(POLL);
        };
        let elapsed = self.began.elapsed();
        self.stdout.join();
        self.stderr.join();
        Finished {
            words: self.words.clone(),
            status,
            stdout: self.stdout.bytes().clone(),
            stderr: self.stderr(),
            elapsed,
            peak_memory_bytes: self.peak_memory_bytes,
        }
    }

    /// The kernel's own high-water mark, as long as the process is there to be asked.
    fn note_memory(&mut self) {
        let path = format!("/proc/{}/status", self.child.id());
        let Ok(status) = std::fs::read_to_string(path) else {
            return;
        };
        let mark = status.lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
            kib.parse::<u64>().ok()
        });
        if let Some(kib) = mark {
            self.peak_memory_bytes = self.peak_memory_bytes.max(kib * 1024);
        }
    }

    fn streams(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

/// How a process ended and what it said.
pub struct Finished {
    words: String,
    status: ExitStatus,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: String,
    /// From the start to the end.
    pub elapsed: Duration,
    /// The most memory it held at a time (resident set, as Linux counts it).
    pub peak_memory_bytes: u64,
}

impl Finished {
    /// The exit code; a signal counts as 128 + its number, as in a shell.
    pub fn code(&self) -> i32 {
        let signal = || 128 + self.status.signal().expect("it exited or was killed");
        self.status.code().unwrap_or_else(signal)
    }

    /// Fails the test, with both streams, on any other exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code of {self}");
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not one JSON document ({error}): {self}"))
    }

    /// Stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("stdout is UTF-8")
    }

    /// Fails the test unless stderr holds every one of these, and a hint. Commands may leave out which config file is
    /// theirs.
    #[track_caller]
    pub fn explains(&self, parts: &[&str]) -> &Self {
        // A report may be wrapped to the width of a terminal, with a rule in front of each line.
        let squeeze = |text: &str| {
            let kept = text.replace(['│', '·', '╭', '╰', '─'], " ");
            let mut words: Vec<&str> = kept.split_whitespace().collect();
            while let Some(at) = words.windows(2).position(|pair| pair[0].ends_with("tintype") && pair[1] == "-c") {
                words.drain(at + 1..words.len().min(at + 3));
            }
            words.join(" ").to_lowercase()
        };
        let said = squeeze(&self.stderr);
        for part in parts {
            assert!(said.contains(&squeeze(part)), "no {part:?} in stderr of {self}");
        }
        assert!(said.contains("hint:") || said.contains("help:"), "no hint in stderr of {self}");
        self
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ({} after {:.1?})\n--- stdout\n{}\n--- stderr\n{}",
            self.words,
            self.status,
            self.elapsed,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        )
    }
}

/// One stream of a child, read by a thread so that a full pipe never blocks the child.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }
}

/// A copy of the binary, for a user who may not come to where it was built. Another process writes it: were this one to, a
/// child that another test is just starting would hold it open, and what is open for writing can't be started.
pub fn copy_binary(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tintype")).arg(to).status().expect("run cp");
    assert!(copied.success(), "cannot copy the binary to {}", to.display());
}

/// Returns a loopback port on which nothing listens.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind to a free port");
    listener.local_addr().expect("it has an address").port()
}
