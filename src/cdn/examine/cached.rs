//! Is it cached at all? Every CDN says so in a header of its own, RFC 9211 in one for all, and `Age` tells it of the rest.

use super::printable;
use crate::http::Answer;
use crate::store::probe::{Check, Subject, Verdict};

pub const CACHED: Subject =
    Subject { name: "cached", means: "documents come from the edge, and not from the origin each time" };

pub const QUERY: Subject = Subject { name: "query", means: "a URL with a query is no copy of its own" };

/// What CloudFront, Fastly, Bunny, and whoever configures Varnish or nginx as others do, say `HIT` in.
const SAY_HIT: [&str; 6] =
    ["x-cache", "x-cache-status", "x-proxy-cache", "x-cache-lookup", "cdn-cache", "x-varnish-cache"];

/// What an answer says of where it came from, with the header that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// From a cache.
    Hit(String),
    /// From the origin, through a cache.
    Miss(String),
    /// Through a cache that doesn't keep it.
    Never(String),
    /// Nothing is said.
    Silent,
}

impl Evidence {
    pub fn is_hit(&self) -> bool {
        matches!(self, Evidence::Hit(_))
    }

    fn text(&self) -> &str {
        match self {
            Evidence::Hit(text) | Evidence::Miss(text) | Evidence::Never(text) => text,
            Evidence::Silent => "no header tells of a cache",
        }
    }
}

/// Reads an answer's headers. With several caches on the way, one that has kept the document is enough.
pub fn evidence(answer: &Answer) -> Evidence {
    let mut found = Evidence::Silent;
    for (name, value) in &answer.headers {
        let said = || format!("{name}: {}", printable(value));
        let seen = match said_by(name, value) {
            Some(true) => Evidence::Hit(said()),
            Some(false) if name == "cf-cache-status" && is_never(value) => Evidence::Never(said()),
            Some(false) => Evidence::Miss(said()),
            None => continue,
        };
        found = match (found, seen) {
            (hit @ Evidence::Hit(_), _) | (_, hit @ Evidence::Hit(_)) => hit,
            (never @ Evidence::Never(_), _) | (_, never @ Evidence::Never(_)) => never,
            (Evidence::Silent, miss) | (miss, _) => miss,
        };
    }
    found
}

/// Whether a header tells of a hit or a miss; none if it tells nothing.
fn said_by(name: &str, value: &str) -> Option<bool> {
    let lower = value.to_ascii_lowercase();
    match name {
        // RFC 9211: a list of caches, each with `hit` or `fwd=…` among its parameters.
        "cache-status" => {
            let hit = lower
                .split(',')
                .any(|cache| cache.split(';').skip(1).any(|part| matches!(part.trim(), "hit" | "hit=?1")));
            Some(hit)
        }
        "cf-cache-status" => Some(matches!(lower.trim(), "hit" | "stale" | "updating" | "revalidated")),
        // Two numbers: this request's, and that of the one which fetched it.
        "x-varnish" => Some(lower.split_whitespace().count() > 1),
        "x-cache-hits" => Some(lower.split(',').any(|hits| hits.trim().parse::<u64>().is_ok_and(|hits| hits > 0))),
        "age" => lower.trim().parse::<u64>().ok().filter(|age| *age > 0).map(|_| true),
        "server-timing" if lower.contains("cdn-cache") => Some(lower.contains("desc=hit")),
        name if SAY_HIT.contains(&name) => {
            Some(lower.contains("hit") || ["stale", "updating", "revalidated"].contains(&lower.trim()))
        }
        _ => None,
    }
}

/// Cloudflare's words for what it doesn't think of keeping.
fn is_never(value: &str) -> bool {
    ["dynamic", "bypass", "none"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// Judges what several fetches of one document said, in their order, the last of which was this answer.
pub fn judge(seen: &[Evidence], last: &Answer) -> Check {
    let mut texts: Vec<&str> = seen.iter().map(Evidence::text).collect();
    texts.dedup();
    let detail = || {
        let mut detail = format!("{} fetches: {}", seen.len(), texts.join("; then "));
        if let Some(why) = why_not(last) {
            detail = format!("{detail}; {why}");
        }
        detail
    };
    match seen.last() {
        Some(Evidence::Hit(text)) => CACHED.ok(text.clone()),
        Some(Evidence::Never(text)) if text.to_ascii_lowercase().contains("dynamic") => {
            CACHED.check(Verdict::Warning, detail()).hint(
                "Cloudflare caches no .json by itself: add a Cache Rule for this host and path with \"Eligible for \
                 cache\" and, as Edge TTL, \"Use cache-control header if present\"",
            )
        }
        Some(Evidence::Silent) | None => CACHED.check(Verdict::Warning, detail()).hint(
            "does [cdn] url lead to the CDN, and not to the store or its web server? A cache of your own can say so: \
             README, \"Putting a CDN or cache in front\"",
        ),
        Some(_) => CACHED.check(Verdict::Warning, detail()).hint(
            "every reader's request goes to the origin; let the CDN keep what Cache-Control allows, with the path alone \
             as the cache key",
        ),
    }
}

/// Judges what fetches of a document that is cached said, each with a query that nobody has sent before.
pub fn judge_queries(seen: &[(u16, Evidence)]) -> Check {
    match seen.last() {
        None => QUERY.check(Verdict::Skipped, "whether the document is cached can't be seen"),
        Some((200, Evidence::Hit(text))) => QUERY.ok(text.clone()),
        Some((200, Evidence::Silent)) => QUERY.check(Verdict::Skipped, Evidence::Silent.text()),
        Some((200, miss)) => QUERY.check(Verdict::Warning, format!("{} with new queries: {}", seen.len(), miss.text())).hint(
            "no purge reaches copies that are kept by their query: readers who ask with one get the old document until \
             edge_ttl runs out; leave the query string out of the cache key",
        ),
        Some((status, _)) => QUERY.ok(format!("it answers {status}, so that there is no such copy")),
    }
}

/// What in an answer keeps caches from keeping it.
fn why_not(answer: &Answer) -> Option<&'static str> {
    let control = answer.header("cache-control").map(str::to_ascii_lowercase);
    let says = |word| control.as_ref().is_some_and(|control| control.contains(word));
    if answer.header("set-cookie").is_some() {
        return Some("it sets a cookie, so that caches leave it alone");
    }
    if ["no-store", "private", "no-cache", "s-maxage=0"].into_iter().any(says) {
        return Some("its Cache-Control forbids it");
    }
    if answer.header("vary").is_some_and(|vary| vary.contains('*')) {
        return Some("Vary: * forbids it");
    }
    control.is_none().then_some("it has no Cache-Control")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { status: 200, headers, bytes: Vec::new() }
    }

    #[test]
    fn every_cdn_says_it_in_its_own_way() {
        for (name, value) in [
            ("cache-status", "OriginCache; fwd=uri-miss, \"CDN\"; hit; ttl=30"),
            ("cf-cache-status", "HIT"),
            ("cf-cache-status", "REVALIDATED"),
            ("x-cache", "Hit from cloudfront"),
            ("x-cache", "RefreshHit from cloudfront"),
            ("x-cache", "MISS, HIT"),
            ("x-cache", "TCP_MEM_HIT from a23"),
            ("x-cache-status", "STALE"),
            ("x-varnish", "32770 3"),
            ("x-cache-hits", "0, 2"),
            ("server-timing", "cdn-cache; desc=HIT, edge; dur=1"),
            ("age", "12"),
        ] {
            assert!(evidence(&answer(&[(name, value)])).is_hit(), "{name}: {value}");
        }
        for (name, value) in [
            ("cache-status", "\"hit cache\"; fwd=stale; fwd-status=200"),
            ("cf-cache-status", "MISS"),
            ("x-cache", "Miss from cloudfront"),
            ("x-cache", "Error from cloudfront"),
            ("x-varnish", "32770"),
            ("x-cache-hits", "0, 0"),
        ] {
            let found = evidence(&answer(&[("date", "now"), (name, value)]));
            assert!(matches!(found, Evidence::Miss(_)), "{name}: {value}: {found:?}");
        }
        assert!(matches!(evidence(&answer(&[("cf-cache-status", "DYNAMIC")])), Evidence::Never(_)));
        assert_eq!(evidence(&answer(&[("server", "nginx"), ("age", "0")])), Evidence::Silent);
        let both = answer(&[("x-cache", "MISS"), ("age", "3"), ("cf-cache-status", "DYNAMIC")]);
        assert!(evidence(&both).is_hit(), "one cache on the way is enough");
    }

    #[test]
    fn copies_by_query() {
        let (hit, miss) = (Evidence::Hit("x-cache: HIT".to_owned()), Evidence::Miss("x-cache: MISS".to_owned()));
        let outcome = |seen: &[(u16, Evidence)]| judge_queries(seen).outcome;
        assert_eq!(outcome(&[]), Verdict::Skipped);
        assert_eq!(outcome(&[(200, miss.clone()), (200, hit)]), Verdict::Ok);
        assert_eq!(outcome(&[(400, miss.clone())]), Verdict::Ok);
        assert_eq!(outcome(&[(200, Evidence::Silent)]), Verdict::Skipped);
        let check = judge_queries(&[(200, miss.clone()), (200, miss)]);
        assert_eq!(check.outcome, Verdict::Warning);
        assert!(check.hint.is_some_and(|hint| hint.contains("cache key")));
    }

    #[test]
    fn what_is_not_cached_is_told_with_what_to_do() {
        let hit = Evidence::Hit("x-cache: HIT".to_owned());
        let miss = Evidence::Miss("x-cache: MISS".to_owned());
        let fine = answer(&[("cache-control", "public, max-age=60, s-maxage=86400")]);
        assert_eq!(judge(&[miss.clone(), hit], &fine).outcome, Verdict::Ok);
        let check = judge(&[miss.clone(), miss.clone()], &fine);
        assert_eq!(check.outcome, Verdict::Warning);
        for (header, value, why) in [
            ("set-cookie", "a=b", "cookie"),
            ("cache-control", "private, max-age=60", "forbids"),
            ("vary", "*", "Vary"),
            ("server", "x", "no Cache-Control"),
        ] {
            let check = judge(&[miss.clone(), miss.clone()], &answer(&[(header, value)]));
            assert!(check.detail.contains(why), "{}", check.detail);
        }
        let never = Evidence::Never("cf-cache-status: DYNAMIC".to_owned());
        let check = judge(&[never.clone(), never], &fine);
        assert!(check.hint.is_some_and(|hint| hint.contains("Cache Rule")));
        assert_eq!(judge(&[Evidence::Silent, Evidence::Silent], &fine).outcome, Verdict::Warning);
    }
}
