//! One path, as a reader gets it.

use std::time::Duration;

use url::Url;

use super::targets::Target;
use super::{Finding, Flaw};
use crate::cdn::reader::{self, Body, Fetched};
use crate::http::Answer;

/// The wait before an edge that failed is asked once more.
const PAUSE: Duration = Duration::from_millis(500);

/// Fetches a path and compares; none if it is as it should be. An error is a reason, as a fragment.
pub async fn look(base: &Url, target: &Target) -> Result<Option<Finding>, String> {
    let url = reader::document_url(base, &target.path);
    let most = target.document.map_or(0, |document| document.size_bytes);
    let mut fetched = reader::read(&url, most).await;
    // An edge fails now and then, and reading may be repeated.
    if fetched.as_ref().map_or(true, |fetched| is_failure(fetched.answer.status)) {
        tokio::time::sleep(PAUSE).await;
        fetched = reader::read(&url, most).await;
    }
    judge(target, &fetched?)
}

fn is_failure(status: u16) -> bool {
    status == 429 || status >= 500
}

fn judge(target: &Target, fetched: &Fetched) -> Result<Option<Finding>, String> {
    let Fetched { answer, body } = fetched;
    let release = target.document.map(|document| document.digest);
    let flaw = match (answer.status, release) {
        (200, None) => Some(Flaw::Lingering),
        (200, Some(release)) => match body {
            Body::Is(digest) if *digest == release => None,
            Body::Is(_) | Body::TooLong => Some(Flaw::Stale),
            Body::Garbled => Some(Flaw::Garbled),
        },
        // A bucket whose reader may not list answers 403 for what isn't there.
        (403 | 404 | 410, None) => None,
        (403 | 404 | 410, Some(_)) => Some(Flaw::Missing),
        (status @ 300..=399, _) => {
            return Err(format!("it answers {status}{}, which isn't followed", location(answer)));
        }
        (status, _) => return Err(format!("it answers {status}")),
    };
    let digest = match body {
        Body::Is(digest) if answer.status == 200 && release.is_some() => Some(*digest),
        _ => None,
    };
    Ok(flaw.map(|flaw| Finding {
        path: target.path.clone(),
        flaw,
        status: answer.status,
        edge: digest,
        release,
        age: answer.header("age").and_then(|age| age.trim().parse().ok()),
        origin: false,
    }))
}

fn location(answer: &Answer) -> String {
    answer.header("location").map(|to| format!(" to {}", to.escape_debug())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::row::DocumentRow;
    use crate::snapshot::Digest;

    fn seen(status: u16, body: Body, is_there: bool) -> Result<Option<Flaw>, String> {
        let digest = Digest::of(b"new");
        let document = is_there.then_some(DocumentRow { digest, size_bytes: 3, gzip_bytes: 9, rows: 0 });
        let headers = vec![("age".to_owned(), "7".to_owned())];
        let answer = Answer { status, headers, bytes: Vec::new() };
        let found = judge(&Target { path: "a.json".into(), document }, &Fetched { answer, body })?;
        assert!(found.as_ref().is_none_or(|found| found.age == Some(7) && found.status == status));
        Ok(found.map(|found| found.flaw))
    }

    #[test]
    fn a_document_is_fresh_or_is_not() {
        let (new, old) = (Body::Is(Digest::of(b"new")), Body::Is(Digest::of(b"old")));
        assert_eq!(seen(200, new, true), Ok(None));
        assert_eq!(seen(200, old, true), Ok(Some(Flaw::Stale)));
        assert_eq!(seen(200, Body::TooLong, true), Ok(Some(Flaw::Stale)));
        assert_eq!(seen(200, Body::Garbled, true), Ok(Some(Flaw::Garbled)));
        for status in [403, 404, 410] {
            assert_eq!(seen(status, old, true), Ok(Some(Flaw::Missing)), "an edge keeps errors, too");
            assert_eq!(seen(status, old, false), Ok(None));
        }
        assert_eq!(seen(200, old, false), Ok(Some(Flaw::Lingering)));
        for status in [301, 401, 429, 500, 503] {
            assert!(seen(status, new, true).is_err(), "{status} tells nothing of the document");
            assert!(seen(status, new, false).is_err(), "{status} tells nothing of its absence");
        }
    }
}
