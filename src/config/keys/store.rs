//! The keys of `[store]` but for those of [`super::head`]: its place, how it is reached, and who may publish into it.

use std::time::Duration;

use super::{DAY, Key, Kind};

/// Where the snapshots go.
pub static STORE_URL: Key = Key {
    section: "store",
    name: "url",
    kind: Kind::Text,
    default: Some("file:public"),
    shown: "\"file:public\"",
    comment: &[
        "Where the snapshots go: file:FOLDER, which any web server can serve, or s3://BUCKET/PREFIX. Nothing else",
        "belongs into it. Credentials of a bucket come from where AWS's own tools find them: AWS_ACCESS_KEY_ID, AWS_PROFILE …",
    ],
};

/// Where the server of a bucket is.
pub static STORE_ENDPOINT: Key = Key {
    section: "store",
    name: "endpoint",
    kind: Kind::Text,
    default: None,
    shown: "\"https://s3.example.org\"",
    comment: &[
        "The server of an s3:// store that isn't AWS; none by default. A certificate of a private authority is trusted if",
        "SSL_CERT_FILE names the authority's.",
    ],
};

/// The region of a bucket.
pub static STORE_REGION: Key = Key {
    section: "store",
    name: "region",
    kind: Kind::Text,
    default: None,
    shown: "\"eu-central-1\"",
    comment: &[
        "The region of an s3:// store; by default what AWS_REGION or the profile says, with an endpoint else us-east-1.",
    ],
};

/// Where the store's own records go.
pub static STORE_CONTROL: Key = Key {
    section: "store",
    name: "control",
    kind: Kind::Text,
    default: None,
    shown: "\".tintype\"",
    comment: &[
        "Where releases and their blobs are kept; by default .tintype beside the public folder, on the same file system if",
        "possible, and for s3://BUCKET/site s3://BUCKET/_tintype/site. It must not be served.",
    ],
};

/// How many requests at a time.
pub static STORE_CONCURRENCY: Key = Key {
    section: "store",
    name: "concurrency",
    kind: Kind::Number { min: 1, max: 1024 },
    default: Some("64"),
    shown: "64",
    comment: &[
        "The most requests in flight to an s3:// store; it starts with 16 and goes down when the store says SlowDown. Too",
        "few: publishing takes longer. Too many: connections are refused, or other users of the store are slowed down.",
    ],
};

/// How long one request may take.
pub static STORE_TIMEOUT: Key = Key {
    section: "store",
    name: "timeout",
    kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_hours(1) },
    default: Some("10s"),
    shown: "\"10s\"",
    comment: &[
        "How long an s3:// store may take to answer one request; large bodies get a second more for every 256 KiB. Too",
        "short: a busy store looks dead. Too long: a dead one is noticed late, after two and a half times this.",
    ],
};

/// How long to wait for another publisher.
pub static LEASE_WAIT: Key = Key {
    section: "store",
    name: "lease_wait",
    kind: Kind::Duration { min: Duration::ZERO, max: DAY },
    default: Some("30s"),
    shown: "\"30s\"",
    comment: &[
        "How long a publisher waits for another one's activation. Too short: it gives up with exit code 5 while the",
        "other would soon be done. Too long: jobs pile up behind one that hangs.",
    ],
};

/// How long a publisher that is gone keeps the others out.
pub static LEASE_TTL: Key = Key {
    section: "store",
    name: "lease_ttl",
    kind: Kind::Duration { min: Duration::from_secs(10), max: Duration::from_hours(1) },
    default: Some("90s"),
    shown: "\"90s\"",
    comment: &[
        "How long the lease of a publisher to an s3:// store lives; it is renewed three times as often. Too short: one that",
        "can't reach the store for a moment has to stop. Too long: after one that died, the others wait for so long.",
    ],
};
