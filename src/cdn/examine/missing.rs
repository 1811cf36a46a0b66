//! What isn't there: a frontend falls back when it is told so, and a document that comes later must not stay hidden.

use super::cached::evidence;
use crate::http::Answer;
use crate::store::probe::{Check, Subject, Verdict};

pub const NOT_FOUND: Subject = Subject { name: "not-found", means: "what isn't there is a 404, and not for long" };

/// A document that is published later is purged as well, but browsers aren't.
const LONG_SECONDS: u64 = 300;

/// Judges the answers to two requests for what isn't there.
pub fn judge(first: &Answer, again: Option<&Answer>) -> Check {
    let mut detail = format!("it answers {}", first.status);
    match first.status {
        404 | 410 => {}
        403 => detail += ", as a bucket does whose reader may not list; s3:ListBucket makes it a 404",
        200 => {
            return NOT_FOUND.broken(detail).hint(
                "a page of its own with status 200 looks like a document: frontends can't tell that there is none, and \
                 `verify --cdn` takes it for one that was removed; let the CDN answer 404 here",
            );
        }
        _ => {
            let hint = "let the origin answer 404 for what it doesn't have";
            return NOT_FOUND.check(Verdict::Warning, detail).hint(hint);
        }
    }
    let control = first.header("cache-control").unwrap_or_default();
    let kept = seconds(control, "max-age").max(seconds(control, "s-maxage"));
    if again.is_some_and(|again| evidence(again).is_hit()) {
        detail += ", which the edge keeps";
    }
    match kept.filter(|kept| *kept > LONG_SECONDS) {
        Some(kept) => NOT_FOUND
            .check(Verdict::Warning, format!("{detail}, and says that it may be kept for {kept} seconds"))
            .hint("a document that is published meanwhile stays hidden in browsers for so long: send errors without Cache-Control, or with a minute"),
        None => NOT_FOUND.ok(detail),
    }
}

/// A number of seconds in `Cache-Control`.
pub fn seconds(control: &str, name: &str) -> Option<u64> {
    control.split(',').find_map(|part| {
        let (given, value) = part.split_once('=')?;
        given.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, control: &str) -> Answer {
        let headers = vec![("cache-control".to_owned(), control.to_owned())];
        Answer { status, headers, bytes: Vec::new() }
    }

    #[test]
    fn what_is_not_there() {
        let outcome = |status, control| judge(&answer(status, control), None).outcome;
        assert_eq!(outcome(404, ""), Verdict::Ok);
        assert_eq!(outcome(410, "max-age=60, s-maxage=60"), Verdict::Ok);
        assert_eq!(outcome(404, "public, max-age=86400"), Verdict::Warning);
        assert_eq!(outcome(404, "max-age=1, s-maxage=86400"), Verdict::Warning);
        assert_eq!(outcome(403, ""), Verdict::Ok);
        assert_eq!(outcome(200, ""), Verdict::Broken);
        assert_eq!(outcome(302, ""), Verdict::Warning);
        let mut kept = answer(404, "");
        kept.headers.push(("age".to_owned(), "5".to_owned()));
        assert!(judge(&answer(404, ""), Some(&kept)).detail.contains("keeps"));
    }

    #[test]
    fn seconds_by_name() {
        assert_eq!(seconds("public, Max-Age=60, s-maxage=\"9\"", "max-age"), Some(60));
        assert_eq!(seconds("s-maxage=9", "s-maxage"), Some(9));
        assert_eq!(seconds("s-maxage=9, no-cache", "max-age"), None);
    }
}
