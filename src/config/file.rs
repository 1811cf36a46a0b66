//! From the text of `tintype.toml` to values, with a finding for everything in it that has no meaning.
//!
//! The parsed tree is walked by hand instead of by serde: serde stops at the first error, knows keys only by their own
//! struct and points at whole tables where a name is wrong.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Kind};
use super::values::{Origin, ProcessValue, Refusal, Value, Values};
use crate::diagnostic::did_you_mean;

/// Reads the text.
pub fn read(text: &str) -> (Values, Vec<Refusal>) {
    let mut walk = Walk { values: Values::none(), refusals: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => walk.section("", table.get_ref()),
        Err(error) => walk.refuse(
            error.span().unwrap_or(0..0),
            format!("the file isn't TOML: {}", error.message().lines().collect::<Vec<_>>().join(", ")),
            "text stands in quotes: url = \"sqlite:demo.db\"",
        ),
    }
    (walk.values, walk.refusals)
}

struct Walk {
    values: Values,
    refusals: Vec<Refusal>,
}

impl Walk {
    fn refuse(&mut self, span: Range<usize>, reason: impl Into<String>, hint: impl Into<String>) {
        self.refusals.push(Refusal { origin: Origin::File(span), reason: reason.into(), hint: hint.into() });
    }

    /// Reads what stands in a section; the text before the first one is the section without a name.
    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            if let Some(key) = KEYS.into_iter().find(|key| key.section == section && key.name == *name.get_ref()) {
                self.key(key, value);
            } else if !is_section(&path) {
                let reason = unknown(section, name.get_ref(), value);
                self.refuse(name.span(), reason, hint(section, name.get_ref(), value));
            } else if let Some(table) = value.get_ref().as_table() {
                self.section(&path, table);
            } else {
                let reason = format!("`{path}` is a section, and this is a value ({})", value.get_ref().type_str());
                self.refuse(value.span(), reason, format!("write [{path}] on a line of its own"));
            }
        }
    }

    fn key(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        match (key.kind, value.get_ref()) {
            (Kind::Table, DeValue::Table(table)) => self.settings(key, table),
            (Kind::Table, other) => self.refuse(
                value.span(),
                format!("{} is a table, and this is a value ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
            (Kind::Processes, DeValue::Array(tables)) => tables.iter().for_each(|table| self.process(table)),
            (Kind::Processes, other) => self.refuse(
                value.span(),
                format!("{} is a list of tables, and this isn't ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
            (Kind::Number { .. }, DeValue::Integer(number)) => {
                self.values.set(key, Value { text: number.to_string(), origin: Origin::File(value.span()) });
            }
            (Kind::Number { .. }, other) => self.refuse(
                value.span(),
                format!("{} is a whole number, and this isn't ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
            (Kind::Switch, DeValue::Boolean(is_on)) => {
                self.values.set(key, Value { text: is_on.to_string(), origin: Origin::File(value.span()) });
            }
            (Kind::Switch, other) => self.refuse(
                value.span(),
                format!("{} is true or false, without quotes, and this isn't ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
            (Kind::Secrets | Kind::Texts | Kind::Words(_), DeValue::Array(elements)) => self.list(key, elements),
            (Kind::Secrets | Kind::Texts | Kind::Words(_), other) => self.refuse(
                value.span(),
                format!("{} is a list, and this isn't ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
            (_, DeValue::String(text)) => {
                self.values.set(key, Value { text: text.to_string(), origin: Origin::File(value.span()) });
            }
            (_, other) => self.refuse(
                value.span(),
                format!("{} is text in quotes, and this isn't ({})", key.label(), other.type_str()),
                format!("write for example {}", key.example()),
            ),
        }
    }

    fn list(&mut self, key: &'static Key, elements: &[Spanned<DeValue<'_>>]) {
        let mut values = Vec::new();
        for element in elements {
            match element.get_ref() {
                DeValue::String(text) => {
                    values.push(Value { text: text.to_string(), origin: Origin::File(element.span()) });
                }
                other => self.refuse(
                    element.span(),
                    format!("{} is a list of texts in quotes, and this isn't one ({})", key.label(), other.type_str()),
                    format!("write for example {}", key.example()),
                ),
            }
        }
        self.values.set_list(key, values);
    }

    fn process(&mut self, written: &Spanned<DeValue<'_>>) {
        const NAMES: [&str; 3] = ["name", "count", "pool"];
        let Some(table) = written.get_ref().as_table() else {
            let reason = format!("a process is a table, and this isn't ({})", written.get_ref().type_str());
            return self.refuse(written.span(), reason, "write for example { name = \"api\", count = 4, pool = 8 }");
        };
        for (name, _) in table.iter().filter(|(name, _)| !NAMES.contains(&name.get_ref().as_ref())) {
            let known = || format!("known here are {}", NAMES.join(", "));
            let hint = did_you_mean(name.get_ref(), NAMES).map_or_else(known, |near| format!("did you mean `{near}`?"));
            self.refuse(name.span(), format!("unknown key `{}` of a process", name.get_ref()), hint);
        }
        let [name, count, pool] = NAMES.map(|name| table.get(name));
        let number = |value: &Spanned<DeValue<'_>>| {
            Some(Value { text: value.get_ref().as_integer()?.to_string(), origin: Origin::File(value.span()) })
        };
        let name = name.and_then(|name| {
            Some(Value { text: name.get_ref().as_str()?.to_owned(), origin: Origin::File(name.span()) })
        });
        let count = match count {
            Some(count) => number(count),
            None => Some(Value { text: "1".to_owned(), origin: Origin::Default }),
        };
        match (name, count, pool.and_then(number)) {
            (Some(name), Some(count), Some(pool)) => self.values.processes.push(ProcessValue { name, count, pool }),
            _ => self.refuse(
                written.span(),
                "a process has a `name` in quotes, a `pool` and, unless there is one only, a `count`, both whole numbers",
                "write for example name = \"api\", count = 4, pool = 8",
            ),
        }
    }

    fn settings(&mut self, key: &'static Key, table: &DeTable<'_>) {
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => self.values.tables.push((
                    key,
                    Value { text: name.get_ref().to_string(), origin: Origin::File(name.span()) },
                    Value { text: text.to_string(), origin: Origin::File(value.span()) },
                )),
                other => self.refuse(
                    value.span(),
                    format!(
                        "the setting `{}` is text in quotes, and this isn't ({})",
                        name.get_ref(),
                        other.type_str()
                    ),
                    "write it as PostgreSQL's SET takes it: work_mem = \"64MB\"",
                ),
            }
        }
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.section.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn unknown(section: &str, name: &str, value: &Spanned<DeValue<'_>>) -> String {
    match (section, value.get_ref()) {
        (_, DeValue::Table(_)) => format!("unknown section [{}]", join(section, name)),
        ("", _) => format!("unknown key `{name}` outside of a section"),
        _ => format!("unknown key `{name}` in [{section}]"),
    }
}

/// The nearest name here, or the section that the name belongs to, or all names that are known here.
fn hint(section: &str, name: &str, value: &Spanned<DeValue<'_>>) -> String {
    let keys = KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
    let sections: Vec<&str> = KEYS.iter().filter_map(|key| below(section, key.section)).collect();
    let is_table = value.get_ref().is_table();
    let known: Vec<&str> = match is_table {
        true => sections.iter().copied().chain(keys).collect(),
        false => keys.chain(sections.iter().copied()).collect(),
    };
    if let Some(near) = did_you_mean(name, known.iter().copied()) {
        return match sections.contains(&near) {
            true => format!("did you mean the section [{}]?", join(section, near)),
            false => format!("did you mean `{near}`?"),
        };
    }
    let elsewhere: Vec<String> =
        KEYS.iter().filter(|key| key.name == name).map(|key| format!("[{}]", key.section)).collect();
    if !is_table && !elsewhere.is_empty() {
        return format!("`{name}` belongs into {}", elsewhere.join(" or "));
    }
    let mut known: Vec<String> = KEYS
        .iter()
        .map(|key| match key.section == section {
            true => key.name.to_owned(),
            false => format!("[{}]", key.section),
        })
        .filter(|shown| section.is_empty() || !shown.starts_with('['))
        .collect();
    known.dedup();
    format!("known here are {}", known.join(", "))
}

/// The next part of a section's name below another section: `build` for `database.build` in `database`.
fn below(section: &str, candidate: &'static str) -> Option<&'static str> {
    let rest = if section.is_empty() { candidate } else { candidate.strip_prefix(section)?.strip_prefix('.')? };
    rest.split('.').next()
}
