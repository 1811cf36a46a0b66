//! A server run by one of the scripts beside this file, for as long as the value lives.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running script. It lives until its stdin ends: when this is dropped, or when this process ends in whatever way.
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script and waits for the first line that it prints. Returns why the test must be skipped where the
    /// server isn't installed; one that is there and doesn't start fails the test.
    pub fn start(name: &str, arguments: &[&str]) -> Result<(Self, String), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all/support").join(name);
        let mut child = Command::new("bash")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for the tests; the server goes when they have gone.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("no bash to run {name} with: {error}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut script = Self { child, input, output };
        let line = script.line();
        if line.is_empty() {
            let mut reason = String::new();
            let mut err = script.child.stderr.take().expect("stderr is piped");
            err.read_to_string(&mut reason).expect("read the script's complaint");
            let status = script.child.wait().expect("wait for the script");
            let reason = reason.trim().to_owned();
            // Only "there is no such program here" is a reason to skip.
            assert_eq!(status.code(), Some(3), "{name} does not start: {reason}");
            return Err(reason);
        }
        Ok((script, line))
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read the script's answer");
        line.trim().to_owned()
    }

    /// Tells it to do something and waits until that is done.
    pub fn command(&mut self, words: &str) {
        let input = self.input.as_mut().expect("its stdin is open");
        writeln!(input, "{words}").expect("tell the script");
        assert_eq!(self.line(), "ok", "{words}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}
