//! A small HTTP client: one request, one bounded answer, one time-out for the whole exchange.
//!
//! It is for the few requests that tintype makes beside those to the store: to readers' URLs, to the API of a CDN, to
//! whoever is to be told something. Retrying is the caller's affair, because only the caller knows what is safe to repeat.
//!
//! The certificates that are trusted are those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set.

use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use url::Url;

/// More of an answer's body than this is never looked at.
const MAX_BYTES: usize = 1 << 20;
/// Who asks; some APIs refuse a request without a name.
const USER_AGENT: &str = concat!("tintype/", env!("CARGO_PKG_VERSION"));

/// One for the whole process, so that its certificates are read once and its connections are used again.
static CONNECTOR: LazyLock<Connector> =
    LazyLock::new(|| Connector::builder().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build());

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status; a redirection isn't followed.
    pub status: u16,
    /// The headers, their names in lower case. Values that aren't UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    /// The body, up to a bound: a mebibyte where the caller names none.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The first value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends a request once and reads its answer, whatever its status.
///
/// An error is a reason, as a fragment: the request wasn't sent, or it was and nobody knows what became of it. Neither
/// it nor a log line holds the headers, which may be secrets.
pub async fn send(
    method: &str,
    url: &Url,
    headers: &[(&str, &str)],
    body: Vec<u8>,
    timeout: Duration,
) -> Result<Answer, String> {
    in_time(timeout, exchange(request(method, url, headers, body)?, MAX_BYTES)).await
}

/// The same for a GET whose body may be of any size up to the caller's bound; what goes beyond it is cut off.
pub async fn get(url: &Url, headers: &[(&str, &str)], timeout: Duration, max_bytes: usize) -> Result<Answer, String> {
    in_time(timeout, exchange(request("GET", url, headers, Vec::new())?, max_bytes)).await
}

async fn in_time(timeout: Duration, exchange: impl Future<Output = Result<Answer, String>>) -> Result<Answer, String> {
    match tokio::time::timeout(timeout, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", in_words(timeout))),
    }
}

/// A time as somebody would say it: what is left of a limit is a number of nanoseconds, and what a server names may be
/// more than a life.
pub fn in_words(time: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_millis() >= 500));
    match seconds {
        _ if time < Duration::from_secs(1) => format!("{}ms", time.as_millis()),
        ..=DAY => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
        _ => format!("{} days", seconds / DAY),
    }
}

fn request(method: &str, url: &Url, headers: &[(&str, &str)], body: Vec<u8>) -> Result<HttpRequest, String> {
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method(method).map_err(|_| format!("`{method}` isn't a method of HTTP"))?;
    // A fragment is never sent.
    request.set_uri(&url[..url::Position::AfterQuery]).map_err(|error| error.to_string())?;
    let named = std::iter::once(&("user-agent", USER_AGENT)).chain(headers);
    for (name, value) in named {
        let refused = |_| format!("the header {name} can't be sent: it holds characters that no header may");
        request.headers_mut().try_insert((*name).to_owned(), (*value).to_owned()).map_err(refused)?;
    }
    Ok(request)
}

async fn exchange(request: HttpRequest, max_bytes: usize) -> Result<Answer, String> {
    let answer = CONNECTOR.call(request).await.map_err(|error| innermost(&error))?;
    let status = answer.status().as_u16();
    let headers = answer.headers().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while let Some(more) = body.next().await {
        bytes.extend_from_slice(&more.map_err(|error| innermost(&error))?);
        if bytes.len() > max_bytes {
            bytes.truncate(max_bytes);
            break;
        }
    }
    Ok(Answer { status, headers, bytes })
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A server that answers one request with this text, or with nothing for ever; it returns what it was asked.
    async fn server(answer: Option<Vec<u8>>) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/a%20b?q#fragment", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let mut length = 0;
            while !asked[..length].ends_with(b"body") {
                let read = stream.read(&mut asked[length..]).await.unwrap();
                assert!(read > 0, "the request broke off");
                length += read;
            }
            match answer {
                Some(answer) => {
                    // Who doesn't read all of it closes before the end.
                    let _ = stream.write_all(&answer).await;
                }
                None => std::future::pending().await,
            }
            String::from_utf8(asked[..length].to_vec()).unwrap()
        });
        (Url::parse(&url).unwrap(), asked)
    }

    #[tokio::test]
    async fn what_is_sent_and_what_comes_back() {
        let text = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
        let (url, asked) = server(Some(text.into())).await;
        let answer = send("PURGE", &url, &[("X-Key", "k")], b"body".to_vec(), PATIENCE).await.unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.bytes.as_slice()),
            (429, Some("7"), &b"slow"[..])
        );
        assert_eq!(answer.header("x-other"), None);
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("PURGE /a%20b?q HTTP/1.1\r\n"), "{asked}");
        let lower = asked.to_ascii_lowercase();
        assert!(lower.contains("x-key: k\r\n") && lower.contains("user-agent: tintype/"), "{asked}");
        assert!(asked.ends_with("\r\n\r\nbody"), "{asked}");
    }

    #[test]
    fn times_are_said_in_words() {
        let words = |seconds: f64| in_words(Duration::from_secs_f64(seconds));
        assert_eq!(words(0.05), "50ms");
        assert_eq!(words(2.999_999_169), "3s");
        assert_eq!(words(90.4), "1m 30s");
        assert_eq!(words(1e9), "11574 days");
        assert_eq!(in_words(Duration::MAX), "213503982334601 days");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_a_bound() {
        let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
        text.resize(text.len() + 3_000_000, b'x');
        let (url, _asked) = server(Some(text)).await;
        let answer = send("POST", &url, &[], b"body".to_vec(), PATIENCE).await.unwrap();
        assert_eq!(answer.bytes.len(), MAX_BYTES);
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_told_and_holds_no_secret() {
        let (url, asked) = server(None).await;
        let short = Duration::from_millis(50);
        let reason = send("POST", &url, &[], b"body".to_vec(), short).await.unwrap_err();
        assert_eq!(reason, "no answer within 50ms");
        asked.abort();
        let reason = send("POST", &url, &[("x-key", "hunter2\n")], Vec::new(), PATIENCE).await.unwrap_err();
        assert!(reason.contains("x-key") && !reason.contains("hunter2"), "{reason}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let closed = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let reason = send("GET", &closed, &[], Vec::new(), PATIENCE).await.unwrap_err();
        assert!(reason.to_lowercase().contains("refused"), "{reason}");
    }
}
