//! What has no token, and what is said about it.

/// Cells that have no token: a type, a literal and the message.
pub(super) const ERRORS: &[(&str, &str, &str)] = &[
    ("int8", "9007199254740993", "is 9007199254740993, beyond ±9007199254740991"),
    ("xid8", "18446744073709551615", "is 18446744073709551615, beyond ±9007199254740991"),
    ("numeric", "-9007199254740992.0", "is -9007199254740992, beyond ±9007199254740991"),
    ("numeric", "NaN", "is NaN, which JSON cannot express"),
    ("numeric", "-Infinity", "is -Infinity, which JSON cannot express"),
    ("float4", "Infinity", "is Infinity, which JSON cannot express"),
    ("float8", "NaN", "is NaN, which JSON cannot express"),
    ("date", "infinity", "is infinity, which is no point in time that JSON's readers know"),
    ("date", "0044-03-15 BC", "lies in the year -43, outside 0001–9999"),
    ("timestamp", "10000-01-01", "lies in the year 10000, outside 0001–9999"),
    ("timestamptz", "-infinity", "is -infinity, which is no point in time that JSON's readers know"),
    ("jsonb", "{\"a\":1e20}", "holds the integer 100000000000000000000, beyond ±9007199254740991"),
    ("json", "{\"a\":1e20}", "holds the integer 100000000000000000000, beyond ±9007199254740991"),
    ("json", "[9007199254740992]", "holds the integer 9007199254740992, beyond ±9007199254740991"),
];

/// Built-in types that have no token, each with a value of it.
pub(super) const UNSUPPORTED: &[(&str, &str, &str)] = &[
    ("'12.50'::money", "has the type money (790), whose text depends on the server's locale", "cast it: v::numeric"),
    (
        "'pg_class'::regclass",
        "has the type regclass (2205), which is an OID on the wire and a name only on its own server",
        "cast it: v::text",
    ),
    (
        "ARRAY['int4'::regtype]",
        "has the type regtype[] (2211), which is an OID on the wire and a name only on its own server",
        "cast it: v::text[]",
    ),
    (
        "'postgres=r/postgres'::aclitem",
        "has the type aclitem (1033), which has no JSON form of its own",
        "cast it: v::text",
    ),
    (
        "ROW(1, 'a')",
        "has the type record (2249), which has no JSON form of its own",
        "select its fields one by one, or write it as JSON: to_jsonb(v)",
    ),
];
