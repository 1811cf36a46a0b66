//! The headers that browsers obey, and the tags that a CDN purges by.

use super::super::reader::Fetched;
use super::Known;
use super::missing::seconds;
use super::printable;
use crate::store::probe::{Check, Subject, Verdict};

pub const CORS: Subject = Subject { name: "cors", means: "pages on other hosts can use it" };
const CACHE_CONTROL: Subject =
    Subject { name: "cache-control", means: "browsers keep it for as long as the template says" };
pub const CONDITIONAL: Subject = Subject { name: "conditional", means: "who has it already gets a 304" };
const TAGS: Subject = Subject { name: "cache-tags", means: "documents carry the tags that a purge may name" };

/// Where CDNs and caches look for tags.
const TAG_HEADERS: [&str; 6] =
    ["x-amz-meta-cache-tag", "cache-tag", "surrogate-key", "edge-cache-tag", "xkey", "x-cache-tags"];

/// The answer to a request from a page on another host.
pub fn cors(page: &Fetched, origin: &str) -> Check {
    let allowed = page.answer.header("access-control-allow-origin").map(str::trim);
    let varies = page.answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin"));
    match allowed {
        Some("*") => CORS.ok("Access-Control-Allow-Origin: *"),
        Some(allowed) if allowed == origin && varies => CORS.ok(format!("allows {origin}, and varies by it")),
        Some(allowed) if allowed == origin => CORS
            .check(Verdict::Warning, format!("allows {origin}, without Vary: Origin"))
            .hint("a copy that one host has asked for is refused to the next: answer Access-Control-Allow-Origin: *"),
        other => {
            let detail = match other {
                Some(other) => format!("allows {} alone", printable(other)),
                None => "no Access-Control-Allow-Origin in the answer to a request with Origin".to_owned(),
            };
            CORS.check(Verdict::Warning, detail).hint(
                "if pages on other hosts fetch it: a bucket answers with CORS headers only who sends an Origin, so let \
                 the CDN add Access-Control-Allow-Origin: * to every answer (CloudFront: the response headers policy \
                 SimpleCORS); nginx: add_header … always",
            )
        }
    }
}

/// How long browsers keep it.
pub fn cache_control(first: &Fetched, known: Option<&Known>) -> Check {
    let Some(said) = first.answer.header("cache-control") else {
        return CACHE_CONTROL
            .check(Verdict::Warning, "there is none, and browsers keep it for as long as they like")
            .hint(whose(known));
    };
    let shown = printable(said);
    if ["no-store", "private", "no-cache"].iter().any(|word| said.to_ascii_lowercase().contains(word)) {
        return CACHE_CONTROL.check(Verdict::Warning, format!("{shown}: nothing may keep it")).hint(whose(known));
    }
    let Some(known) = known else { return CACHE_CONTROL.ok(shown) };
    // What is for the edge alone, the edge may keep to itself.
    if said == known.cache_control || seconds(said, "max-age") == seconds(&known.cache_control, "max-age") {
        return CACHE_CONTROL.ok(shown);
    }
    let is_cloudflare = first.answer.header("cf-ray").is_some();
    CACHE_CONTROL.check(Verdict::Warning, format!("{shown}, and the release says {}", known.cache_control)).hint(
        match is_cloudflare {
            true => "Cloudflare puts its own time there: set Browser Cache TTL to \"Respect Existing Headers\"",
            false => whose(Some(known)),
        },
    )
}

fn whose(known: Option<&Known>) -> &'static str {
    match known {
        Some(Known { has_headers: false, .. }) => {
            "a folder holds no headers: write the template's max_age and edge_ttl into the web server's configuration"
        }
        _ => "no purge reaches a browser: let the CDN pass the origin's Cache-Control on as it is",
    }
}

/// Nothing to ask a second time with.
pub fn without_validator() -> Check {
    CONDITIONAL
        .check(Verdict::Warning, "it has neither ETag nor Last-Modified")
        .hint("browsers fetch the whole document again each time; let the CDN pass the origin's ETag on")
}

/// The answer to somebody who has it already.
pub fn conditional(again: &Fetched, name: &str, value: &str) -> Check {
    match again.answer.status {
        304 if again.answer.bytes.is_empty() => CONDITIONAL.ok(format!("304 for {name}: {}", printable(value))),
        status => CONDITIONAL
            .check(Verdict::Warning, format!("{name}: {} is answered with {status}", printable(value)))
            .hint("browsers fetch the whole document again each time; a proxy that packs or unpacks must keep the ETag, weakly"),
    }
}

/// Whether the tags arrive, where a release has some.
pub fn tags(first: &Fetched, known: &Known) -> Option<Check> {
    if known.tags.is_empty() {
        return None;
    }
    let shown = TAG_HEADERS.iter().find_map(|name| Some((*name, first.answer.header(name)?)));
    Some(match shown {
        Some((name, said)) => {
            let has = |tag: &String| said.split([',', ' ']).any(|shown| shown.trim().eq_ignore_ascii_case(tag));
            let lacking: Vec<&str> = known.tags.iter().filter(|tag| !has(tag)).map(String::as_str).collect();
            match lacking.is_empty() {
                true => TAGS.ok(format!("{name}: {}", printable(said))),
                false => TAGS
                    .check(Verdict::Warning, format!("{name} lacks {}", lacking.join(", ")))
                    .hint("`tintype publish --force` writes the headers of every document again"),
            }
        }
        // A folder holds no headers, and few web servers are taught what a template's tags are.
        None if !known.has_headers => return None,
        None => TAGS.check(Verdict::Skipped, "no tags are shown: Cloudflare and Fastly keep them to themselves"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::reader::Body;
    use crate::http::Answer;
    use crate::snapshot::Digest;

    fn fetched(status: u16, headers: &[(&str, &str)]) -> Fetched {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Fetched { answer: Answer { status, headers, bytes: Vec::new() }, body: Body::Is(Digest::of(b"")) }
    }

    fn known(has_headers: bool) -> Known {
        Known {
            digest: Digest::of(b""),
            size_bytes: 0,
            cache_control: "public, max-age=60, s-maxage=86400".to_owned(),
            tags: vec!["places".to_owned(), "topic-crispr".to_owned()],
            has_headers,
        }
    }

    #[test]
    fn pages_on_other_hosts() {
        let outcome = |headers: &[(&str, &str)]| cors(&fetched(200, headers), "https://p.example").outcome;
        assert_eq!(outcome(&[("access-control-allow-origin", "*")]), Verdict::Ok);
        assert_eq!(outcome(&[("access-control-allow-origin", "https://p.example"), ("vary", "Origin")]), Verdict::Ok);
        assert_eq!(outcome(&[("access-control-allow-origin", "https://p.example")]), Verdict::Warning);
        assert_eq!(outcome(&[("access-control-allow-origin", "https://other.example")]), Verdict::Warning);
        assert_eq!(outcome(&[]), Verdict::Warning);
    }

    #[test]
    fn what_browsers_keep() {
        let check = |headers: &[(&str, &str)]| cache_control(&fetched(200, headers), Some(&known(true)));
        let outcome = |headers: &[(&str, &str)]| check(headers).outcome;
        assert_eq!(outcome(&[("cache-control", "public, max-age=60, s-maxage=86400")]), Verdict::Ok);
        assert_eq!(outcome(&[("cache-control", "max-age=60")]), Verdict::Ok, "the edge keeps its part to itself");
        assert_eq!(outcome(&[]), Verdict::Warning);
        assert_eq!(outcome(&[("cache-control", "no-store")]), Verdict::Warning);
        let hint = check(&[("cache-control", "public, max-age=14400"), ("cf-ray", "x")]).hint.unwrap();
        assert!(hint.contains("Browser Cache TTL"), "{hint}");
        let folder = cache_control(&fetched(200, &[("cache-control", "max-age=5")]), Some(&known(false)));
        assert!(folder.hint.unwrap().contains("web server"));
        assert_eq!(cache_control(&fetched(200, &[("cache-control", "max-age=5")]), None).outcome, Verdict::Ok);
    }

    #[test]
    fn who_has_it_already() {
        assert_eq!(conditional(&fetched(304, &[]), "if-none-match", "\"a\"").outcome, Verdict::Ok);
        assert_eq!(conditional(&fetched(200, &[]), "if-none-match", "\"a\"").outcome, Verdict::Warning);
    }

    #[test]
    fn tags_that_arrive() {
        let outcome = |headers: &[(&str, &str)], has_headers| {
            tags(&fetched(200, headers), &known(has_headers)).map(|check| check.outcome)
        };
        assert_eq!(outcome(&[("x-amz-meta-cache-tag", "places,topic-crispr")], true), Some(Verdict::Ok));
        assert_eq!(outcome(&[("surrogate-key", "places topic-crispr other")], true), Some(Verdict::Ok));
        assert_eq!(outcome(&[("cache-tag", "places")], true), Some(Verdict::Warning));
        assert_eq!(outcome(&[], true), Some(Verdict::Skipped));
        assert_eq!(outcome(&[], false), None);
        assert!(tags(&fetched(200, &[]), &Known { tags: Vec::new(), ..known(true) }).is_none());
    }
}
