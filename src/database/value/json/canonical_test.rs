use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn canonical(text: &str) -> Result<String, ValueError> {
    let mut out = Vec::new();
    write_canonical(text, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn known_forms() {
    for (text, expected) in [
        (" { \"b\" : [ ] , \"a\" : { } } ", r#"{"a":{},"b":[]}"#),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"b":{"d":1,"c":[{"z":1,"y":2}]},"a":0}"#, r#"{"a":0,"b":{"c":[{"y":2,"z":1}],"d":1}}"#),
        // Sorted by the names themselves, not by their escaped text: U+0001 stands before `"`.
        (r#"{"\"":1,"\u0001":2,"!":3}"#, r#"{"\u0001":2,"!":3,"\"":1}"#),
        (r#""\u0000\u001F\u00e9""#, "\"\\u0000\\u001fé\""),
        ("[-0, -0.0, 1.50, 1E2, 1e-7, -1.25e-3]", "[0,0,1.5,100,1e-7,-0.00125]"),
        ("0.1234567890123456789012345", "0.1234567890123456789012345"),
    ] {
        assert_eq!(canonical(text).unwrap(), expected);
    }
}

#[test]
fn what_is_not_json() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "tru",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "1 2",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\\ud800\\",
        "\"a\nb\"",
        "[1 2]",
        "{\"a\" 1}",
        "1e999",
        "/* c */ 1",
        "\u{feff}1",
    ] {
        assert!(matches!(canonical(text), Err(ValueError::Json { .. })), "{text}");
    }
    assert_eq!(canonical("[1, x]").unwrap_err().to_string(), "is not valid JSON at byte 4: expected a value");
}

#[test]
fn limits() {
    let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(canonical(&nested(MAX_DEPTH)).unwrap(), nested(MAX_DEPTH));
    assert_eq!(canonical(&nested(MAX_DEPTH + 1)), Err(ValueError::JsonDepth));
    assert_eq!(canonical(&"{\"a\":".repeat(100_000)), Err(ValueError::JsonDepth));
    for integer in ["9007199254740992", "-9007199254740993", "9007199254740992.0", "1e16", "1e300"] {
        assert!(matches!(canonical(integer), Err(ValueError::BeyondSafeIntegerInJson(_))), "{integer}");
    }
    assert_eq!(canonical("-9007199254740991").unwrap(), "-9007199254740991");
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..9_007_199_254_740_991).prop_map(Value::from),
        // Few enough digits for serde_json, which reads longer ones a little wrong.
        (-1_000_000..1_000_000).prop_map(|number| Value::from(f64::from(number) / 1024.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec(("[a-c\\PC\u{1}\"]{0,3}", inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The value without regard to the order of members, and with its numbers as doubles.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(sorted).collect(),
        Value::Object(members) => {
            let ordered: std::collections::BTreeMap<_, _> =
                members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn the_same_value_and_its_own_canonical_form(value in values()) {
        let once = canonical(&value.to_string()).unwrap();
        prop_assert_eq!(canonical(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), once.clone());
        prop_assert_eq!(canonical(&once).unwrap(), once.clone());
        let read: Value = serde_json::from_str(&once).unwrap();
        // The order of the members is part of the comparison: it is the order of a `BTreeMap`.
        prop_assert_eq!(sorted(&read).to_string(), sorted(&value).to_string());
        prop_assert_eq!(canonical(&sorted(&value).to_string()).unwrap(), once);
    }

    #[test]
    fn any_text_is_answered_without_panic(text in "[\\[\\]{}:,\"\\\\u0-9aeE+.\\- tn]{0,40}") {
        if let Ok(token) = canonical(&text) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            prop_assert_eq!(canonical(&token).unwrap(), token);
        }
    }
}
