//! The keys of `[cdn]` and of whom it tells what has changed.

use std::time::Duration;

use super::{Key, Kind};

/// Where readers fetch.
pub static CDN_URL: Key = Key {
    section: "cdn",
    name: "url",
    kind: Kind::Text,
    default: None,
    shown: "\"https://cdn.example.org\"",
    comment: &[
        "The address under which readers fetch the snapshots; none by default. Its path, if it has one, is left out of",
        "a document's URL that is pasted from the browser to name a key.",
    ],
};

/// Whom to tell what has changed.
pub static CDN_PURGE: Key = Key {
    section: "cdn",
    name: "purge",
    kind: Kind::Word(&["none", "cloudfront", "cloudflare", "fastly", "webhook"]),
    default: Some("none"),
    shown: "\"none\"",
    comment: &[
        "Who keeps documents at the edge, and is told which of them have changed: none, cloudfront, cloudflare, fastly, or",
        "webhook. Needs [cdn] url, and the section of that name. With none, readers wait for edge_ttl to run out.",
    ],
};

/// How long a request to the CDN is tried.
pub static PURGE_TIMEOUT: Key = Key {
    section: "cdn",
    name: "purge_timeout",
    kind: Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(1) },
    default: Some("2m"),
    shown: "\"2m\"",
    comment: &[
        "For how long a request to the CDN is tried; many of a purge may take as long and 30s (cloudfront), 1s (cloudflare) or",
        "1/8s for each. Too short: a busy API leaves edges stale until the next run. Too long: a publish hangs while it's away.",
    ],
};

/// How much one purge names.
pub static MAX_PATHS: Key = Key {
    section: "cdn",
    name: "max_paths",
    kind: Kind::Number { min: 1, max: 1_000_000 },
    default: None,
    shown: "1000",
    comment: &[
        "The most paths that one purge names; by default 30 (cloudfront, which bills them), 10000 (cloudflare and fastly),",
        "100000 (webhook). With more, folders or tags stand for them, which drops unchanged documents from the edges too.",
    ],
};

/// Which distribution.
pub static DISTRIBUTION: Key = Key {
    section: "cdn.cloudfront",
    name: "distribution",
    kind: Kind::Text,
    default: None,
    shown: "\"E1ABCDEFGHIJKL\"",
    comment: &["The id of the distribution. Credentials come from where those of an s3:// store come from."],
};

/// Whose credentials.
pub static PROFILE: Key = Key {
    section: "cdn.cloudfront",
    name: "profile",
    kind: Kind::Text,
    default: None,
    shown: "\"cdn\"",
    comment: &[
        "The profile of AWS's configuration whose credentials are used instead; none by default. It is for a store that isn't",
        "AWS's, whose credentials are another's. They need the permission cloudfront:CreateInvalidation.",
    ],
};

/// Whether CloudFront knows tags.
pub static CLOUDFRONT_TAGS: Key = Key {
    section: "cdn.cloudfront",
    name: "tags",
    kind: Kind::Switch,
    default: Some("false"),
    shown: "false",
    comment: &[
        "true lets cache tags stand for many paths. Only if the distribution's CacheTagConfig names x-amz-meta-cache-tag:",
        "else CloudFront knows no tags, accepts a purge by tag all the same, and forgets nothing.",
    ],
};

/// Where CloudFront's API is.
pub static CLOUDFRONT_API: Key = Key {
    section: "cdn.cloudfront",
    name: "api_url",
    kind: Kind::Text,
    default: Some("https://cloudfront.amazonaws.com"),
    shown: "\"https://cloudfront.amazonaws.com\"",
    comment: &["The address of the API; China has one of its own."],
};

/// Which zone.
pub static ZONE: Key = Key {
    section: "cdn.cloudflare",
    name: "zone",
    kind: Kind::Text,
    default: None,
    shown: "\"023e105f4ecef8ad9ca31a8372d0c353\"",
    comment: &["The id of the zone."],
};

/// Cloudflare's token.
pub static CLOUDFLARE_TOKEN: Key = Key {
    section: "cdn.cloudflare",
    name: "token",
    kind: Kind::Secret,
    default: None,
    shown: "\"...\"",
    comment: &[
        "An API token with the permission Cache Purge for the zone. Better than here: in a file that only tintype's user can",
        "read, named in the variable TINTYPE_CDN_CLOUDFLARE_TOKEN_FILE.",
    ],
};

/// Which pages fetch.
pub static ORIGINS: Key = Key {
    section: "cdn.cloudflare",
    name: "origins",
    kind: Kind::Text,
    default: None,
    shown: "\"https://www.example.org https://example.org\"",
    comment: &[
        "The origins of pages on other hosts that fetch documents, separated by blanks; none by default. Cloudflare keeps a",
        "copy for each of them, and a purge by URL forgets only those that it names.",
    ],
};

/// Whether Cloudflare knows tags.
pub static CLOUDFLARE_TAGS: Key = Key {
    section: "cdn.cloudflare",
    name: "tags",
    kind: Kind::Switch,
    default: Some("false"),
    shown: "false",
    comment: &[
        "true lets cache tags stand for many paths. Only if a Cache Response Rule copies x-amz-meta-cache-tag into",
        "Cache-Tag on the way from the store: else a purge by tag is accepted and forgets nothing.",
    ],
};

/// Where Cloudflare's API is.
pub static CLOUDFLARE_API: Key = Key {
    section: "cdn.cloudflare",
    name: "api_url",
    kind: Kind::Text,
    default: Some("https://api.cloudflare.com/client/v4"),
    shown: "\"https://api.cloudflare.com/client/v4\"",
    comment: &["The address of the API."],
};

/// Which service.
pub static SERVICE: Key = Key {
    section: "cdn.fastly",
    name: "service",
    kind: Kind::Text,
    default: None,
    shown: "\"SU1Z0isxPaozGVKXdv0eY\"",
    comment: &["The id of the service."],
};

/// Fastly's token.
pub static FASTLY_TOKEN: Key = Key {
    section: "cdn.fastly",
    name: "token",
    kind: Kind::Secret,
    default: None,
    shown: "\"...\"",
    comment: &[
        "An API token with the scopes purge_select and purge_all. Better than here: in a file that only tintype's user can",
        "read, named in the variable TINTYPE_CDN_FASTLY_TOKEN_FILE.",
    ],
};

/// Whether documents are kept as stale ones.
pub static SOFT: Key = Key {
    section: "cdn.fastly",
    name: "soft",
    kind: Kind::Switch,
    default: Some("false"),
    shown: "false",
    comment: &[
        "true marks documents as stale: the first reader after a purge may get the old one while the new one is fetched, and",
        "readers get it while the store is away. false drops them: nobody gets the old one, and some get an error then.",
    ],
};

/// Whether Fastly knows tags.
pub static FASTLY_TAGS: Key = Key {
    section: "cdn.fastly",
    name: "tags",
    kind: Kind::Switch,
    default: Some("false"),
    shown: "false",
    comment: &[
        "true lets cache tags stand for many paths. Only if the service's VCL makes a Surrogate-Key of x-amz-meta-cache-tag,",
        "with blanks for the commas: else a purge by key is accepted and forgets nothing.",
    ],
};

/// Where Fastly's API is.
pub static FASTLY_API: Key = Key {
    section: "cdn.fastly",
    name: "api_url",
    kind: Kind::Text,
    default: Some("https://api.fastly.com"),
    shown: "\"https://api.fastly.com\"",
    comment: &["The address of the API."],
};

/// Whom else to tell.
pub static WEBHOOK_URL: Key = Key {
    section: "cdn.webhook",
    name: "url",
    kind: Kind::Secret,
    default: None,
    shown: "\"http://127.0.0.1:6081/{path}\"",
    comment: &[
        "Who is told: with {path} in it, by one request for each path, as a cache such as Varnish takes it; without, by POSTs",
        "of JSON with up to 1000 paths. The first purge of a site is one of everything.",
    ],
};

/// How a path is purged.
pub static METHOD: Key = Key {
    section: "cdn.webhook",
    name: "method",
    kind: Kind::Text,
    default: Some("PURGE"),
    shown: "\"PURGE\"",
    comment: &["The method of the requests for a path. Their Host is the one of [cdn] url."],
};

/// What webhooks are signed with.
pub static WEBHOOK_SECRET: Key = Key {
    section: "cdn.webhook",
    name: "secret",
    kind: Kind::Secret,
    default: None,
    shown: "\"...\"",
    comment: &[
        "A secret that requests are signed with, so that the webhook knows who sends them; none by default. The header is",
        "X-Tintype-Signature: sha256= and the HMAC-SHA-256 of the body in hex digits; of \"PURGE /path\" with {path}.",
    ],
};

/// What else to send along.
pub static HEADER: Key = Key {
    section: "cdn.webhook",
    name: "header",
    kind: Kind::Secret,
    default: None,
    shown: "\"Authorization: Bearer ...\"",
    comment: &["A header to send along, name and value; none by default."],
};

/// How everything is purged.
pub static EVERYTHING: Key = Key {
    section: "cdn.webhook",
    name: "everything",
    kind: Kind::Secret,
    default: None,
    shown: "\"http://127.0.0.1:6081/\"",
    comment: &[
        "Where a request goes that makes the cache forget everything, if url has {path} in it; none by default: then every path",
        "of the site is named; what went longer ago than releases are kept stays at the edges until edge_ttl runs out.",
    ],
};

/// With which method.
pub static EVERYTHING_METHOD: Key = Key {
    section: "cdn.webhook",
    name: "everything_method",
    kind: Kind::Text,
    default: Some("BAN"),
    shown: "\"BAN\"",
    comment: &["The method of that request."],
};
