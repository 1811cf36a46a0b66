//! Connections without manners: bytes go out as they are, and what comes back is taken as far as it comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::http;

/// Longest time without a byte; beyond it the server has left somebody hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
pub struct Raw(TcpStream);

impl Raw {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a deadline");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a deadline");
        Self(stream)
    }

    /// Opens one from this address.
    pub fn open_as(reader: Ipv4Addr, address: SocketAddr) -> Self {
        Self(http::open_as(reader, address))
    }

    /// Opens one to whom the network may bring a few KiB at a time, and no more before those are read.
    pub fn narrow(address: SocketAddr) -> Self {
        let raw = Self::open(address);
        rustix::net::sockopt::set_socket_recv_buffer_size(&raw.0, 4096).expect("set a size");
        raw
    }

    /// Sends bytes. A server that has closed meanwhile is no fault: it says so to whoever reads.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// The statuses of all answers, in their order, up to the end of the connection; fails if it doesn't come.
    #[track_caller]
    pub fn statuses(mut self) -> Vec<u16> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            Err(error) => panic!("neither answered nor closed ({error}): {}", String::from_utf8_lossy(&bytes)),
        }
        // No body of ours holds these words.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("HTTP/1.").skip(1).map(|rest| rest[2..5].parse().expect("a status")).collect()
    }

    /// Reads one answer that has no further behind it: its head, and the body that the head announces.
    pub fn answer(&mut self) -> String {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while !bytes.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("read the head");
            bytes.push(byte[0]);
        }
        let head = String::from_utf8(bytes).expect("the head is text");
        let lower = head.to_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::parse::<usize>);
        let mut body = vec![0; length.expect("its length").expect("a number")];
        self.0.read_exact(&mut body).expect("read the body");
        head + &String::from_utf8(body).expect("the body is text")
    }

    /// Reads the status of an answer and nothing more.
    pub fn status(&mut self) -> u16 {
        let mut line = [0; "HTTP/1.1 200".len()];
        self.0.read_exact(&mut line).expect("read the status");
        String::from_utf8_lossy(&line)[9..].parse().expect("a status")
    }

    /// Reads so many bytes.
    pub fn take(&mut self, bytes: usize) {
        self.0.read_exact(&mut vec![0; bytes]).expect("read bytes");
    }

    /// Sends the same again and again, until the server takes no more for some time or has closed.
    pub fn ask_without_end(&mut self, bytes: &[u8]) {
        self.0.set_write_timeout(Some(Duration::from_millis(300))).expect("set a deadline");
        let many = bytes.repeat(1_000);
        while self.0.write_all(&many).is_ok() {}
    }

    /// Whether nothing has come within this time.
    pub fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).expect("set a deadline");
        let heard = self.0.peek(&mut [0]);
        self.0.set_read_timeout(Some(PATIENCE)).expect("set a deadline");
        heard.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Whether the server has closed it: asked by sending `byte`, or by listening without one. Never waits.
    pub fn is_closed(&mut self, byte: Option<u8>) -> bool {
        self.0.set_nonblocking(true).expect("don't wait");
        let met = match byte {
            Some(byte) => self.0.write(&[byte]).map(|_| false),
            None => self.0.read(&mut [0; 4096]).map(|read| read == 0),
        };
        self.0.set_nonblocking(false).expect("wait again");
        met.unwrap_or_else(|error| error.kind() != ErrorKind::WouldBlock)
    }
}
