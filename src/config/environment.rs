//! Values from the environment, and a refusal of every `TINTYPE_` name that means nothing.

use std::path::Path;

use super::keys::{DATABASE_URL, KEYS, Key, Kind, SERVE_MAX};
use super::values::{Origin, Refusal, Value, Values};
use crate::diagnostic::did_you_mean;

const PREFIX: &str = "TINTYPE_";
/// Names that the command line reads itself.
const ELSEWHERE: [&str; 3] = ["TINTYPE_AUTHOR", "TINTYPE_LOG", "TINTYPE_CONFIG"];
/// What hosting platforms and other programs call a setting; weaker than our own name, stronger than the file.
static ALIASES: [(&str, &Key); 2] = [("DATABASE_URL", &DATABASE_URL), ("DB_POOL_SIZE", &SERVE_MAX)];
/// Where AWS's own tools find the server of a bucket, the stronger first.
const AWS_ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Sets what the environment says over what the file says. An empty variable counts as unset.
pub fn overlay(values: &mut Values, environment: &[(String, String)]) -> Vec<Refusal> {
    let set: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let mut refusals: Vec<Refusal> = set.iter().filter_map(|(name, _)| unknown(name)).collect();
    let find = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    for (name, key) in ALIASES {
        if let Some(text) = find(name) {
            values.set(key, value(name, text));
        }
    }
    let named = AWS_ENDPOINTS.iter().find_map(|name| Some((name, find(name)?)));
    values.aws_endpoint = named.map(|(name, text)| value(name, text));
    for key in KEYS {
        let Some(name) = key.variable() else { continue };
        let file_name = format!("{name}_FILE");
        let file = find(&file_name).filter(|_| key.is_secret());
        match (find(&name), file) {
            (None, None) => {}
            (Some(text), None) => put(values, key, value(&name, text)),
            (None, Some(path)) => match secret_file(&file_name, path, key.kind == Kind::Secrets) {
                Ok(found) => put(values, key, found),
                Err(refusal) => refusals.push(refusal),
            },
            (Some(_), Some(_)) => {
                refusals.push(refusal(
                    &name,
                    format!("is set, and {file_name} too"),
                    "unset one of the two".to_owned(),
                ));
            }
        }
    }
    refusals
}

fn put(values: &mut Values, key: &'static Key, found: Value) {
    if !key.is_list() {
        return values.set(key, found);
    }
    // A comma or a blank in a URL is written %2C or %20.
    let elements = found.text.split(|c: char| c == ',' || c.is_whitespace()).filter(|text| !text.is_empty());
    let elements = elements.map(|text| Value { text: text.to_owned(), origin: found.origin.clone() }).collect();
    values.set_list(key, elements);
}

fn value(name: &str, text: &str) -> Value {
    Value { text: text.to_owned(), origin: Origin::Variable(name.to_owned()) }
}

fn refusal(name: &str, reason: String, hint: String) -> Refusal {
    Refusal { origin: Origin::Variable(name.to_owned()), reason, hint }
}

/// Editors end a file with a line break, which is no part of a secret.
fn secret_file(name: &str, path: &str, is_list: bool) -> Result<Value, Refusal> {
    if path.contains("://") {
        // Whoever put the secret itself here must not find it in a log.
        let hint =
            format!("it takes the path of a file; for the value itself there is {}", name.trim_end_matches("_FILE"));
        return Err(refusal(name, "holds a URL where a file's path should stand".to_owned(), hint));
    }
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| {
        refusal(name, format!("can't read the file {path}: {error}"), "may tintype's user read it?".to_owned())
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(refusal(name, format!("the file {path} is empty"), "write the value into it".to_owned()));
    }
    if text.contains('\n') && !is_list {
        let hint = "write the value alone into it, on one line".to_owned();
        return Err(refusal(name, format!("the file {path} has more than one line"), hint));
    }
    Ok(value(name, text))
}

/// Refuses a name with our prefix that isn't ours: a misspelt variable would otherwise silently do nothing.
fn unknown(name: &str) -> Option<Refusal> {
    let rest = name.strip_prefix(PREFIX)?;
    let known: Vec<String> = KEYS
        .iter()
        .filter_map(|key| Some((key, key.variable()?)))
        .flat_map(|(key, name)| {
            let file = key.is_secret().then(|| format!("{name}_FILE"));
            std::iter::once(name).chain(file)
        })
        .chain(ELSEWHERE.map(str::to_owned))
        .collect();
    if known.iter().any(|known| known == name) {
        return None;
    }
    let is_table = |key: &&&Key| {
        key.is_table() && rest.eq_ignore_ascii_case(&format!("{}_{}", key.section.replace('.', "_"), key.name))
    };
    let hint = if let Some(key) = KEYS.iter().find(is_table) {
        format!("{} is a table and can only be set in the file", key.label())
    } else if let Some(near) = did_you_mean(rest, known.iter().filter_map(|known| known.strip_prefix(PREFIX))) {
        format!("did you mean {PREFIX}{near}?")
    } else {
        format!("known are {}", known.join(", "))
    };
    Some(refusal(name, "isn't a variable that tintype knows".to_owned(), hint))
}
