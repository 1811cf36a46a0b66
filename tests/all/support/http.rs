//! A plain HTTP/1.1 client: a test sees the headers and bytes as they come, decoded by nobody.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, their names in lower case; those that come several times are joined by commas.
    pub headers: BTreeMap<String, String>,
    /// The body as sent.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value, empty if it isn't there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }
}

/// Sends one request over a connection of its own; `path` goes out as it is.
pub fn request(method: &str, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    once(open(address), method, path, headers)
}

/// `GET` with these headers by a reader who has this address.
pub fn get_as(reader: Ipv4Addr, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    once(open_as(reader, address), "GET", path, headers)
}

/// A connection from this address.
pub fn open_as(reader: Ipv4Addr, address: SocketAddr) -> TcpStream {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddr::from((reader, 0))).expect("take the address");
    connect(&socket, &address).expect("connect to the server");
    patient(socket.into())
}

fn once(mut stream: TcpStream, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let headers: Vec<_> = [("Connection", "close")].iter().chain(headers).copied().collect();
    send(&mut stream, method, path, &headers);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read the answer");
    parse(&bytes)
}

fn open(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("connect to the server"))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a deadline");
    stream
}

fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &[(&str, &str)]) {
    let address = stream.peer_addr().expect("it is connected");
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        text = format!("{text}{name}: {value}\r\n");
    }
    text += "\r\n";
    stream.write_all(text.as_bytes()).expect("send the request");
}

/// A connection that stays open, for many requests one after the other.
pub struct Kept(BufReader<TcpStream>);

impl Kept {
    /// Opens one.
    pub fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(open(address)))
    }

    /// `GET` with these headers. The answer must say how long its body is.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Response {
        send(self.0.get_mut(), "GET", path, headers);
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let read = self.0.read_until(b'\n', &mut bytes).expect("read the head");
            assert!(read > 0, "closed in the middle of {path}");
        }
        let mut answer = parse(&bytes);
        if answer.status != 304 {
            answer.body = vec![0; answer.header("content-length").parse().expect("the length of the body")];
            self.0.read_exact(&mut answer.body).expect("read the body");
        }
        answer
    }
}

/// `GET` with these headers.
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    request("GET", address, path, headers)
}

fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the answer has a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("the head is text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let known = headers.entry(name.to_lowercase());
        known.and_modify(|known| *known = format!("{known}, {value}")).or_insert_with(|| value.to_owned());
    }
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = &bytes[end + 4..];
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    Response { status: status.expect("the answer has a status"), headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|hex| usize::from_str_radix(hex.trim(), 16).ok());
        let size = size.expect("a chunk's size is a number");
        rest = &rest[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
