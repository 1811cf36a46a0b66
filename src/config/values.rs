//! Values as they were written, each with the place that it came from.

use std::ops::Range;

use super::keys::{KEYS, Key, STORE_ENDPOINT};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// At these bytes of the file.
    File(Range<usize>),
    /// In this variable of the environment.
    Variable(String),
    /// Nowhere.
    Default,
}

/// A value. It may be a secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Value {
    /// As it was written.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// One of `[budget] processes`, as it was written.
pub struct ProcessValue {
    /// Its name.
    pub name: Value,
    /// How many there are of it.
    pub count: Value,
    /// The connections of each.
    pub pool: Value,
}

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub struct Refusal {
    /// Where it was written.
    pub origin: Origin,
    /// A lower-case fragment that names the value, unless it is a secret.
    pub reason: String,
    /// What to write instead.
    pub hint: String,
}

/// The values of the closed table's keys.
pub struct Values {
    texts: [Option<Value>; KEYS.len()],
    /// What was set of a key before something stronger was.
    overruled: Vec<(&'static Key, Value)>,
    /// The lists among the keys' values, element by element.
    lists: [Option<Vec<Value>>; KEYS.len()],
    /// What the keys hold whose value is a table: the key, a name and its value, each with its place.
    pub tables: Vec<(&'static Key, Value, Value)>,
    /// `[budget] processes`.
    pub processes: Vec<ProcessValue>,
    /// The server of a bucket as AWS's own variables name it: weaker than the key wherever that is set.
    pub aws_endpoint: Option<Value>,
}

impl Values {
    /// Nothing set.
    pub fn none() -> Values {
        Values {
            texts: [const { None }; KEYS.len()],
            overruled: Vec::new(),
            lists: [const { None }; KEYS.len()],
            tables: Vec::new(),
            processes: Vec::new(),
            aws_endpoint: None,
        }
    }

    /// Sets a key, over what was there.
    pub fn set(&mut self, key: &'static Key, value: Value) {
        if let Some(slot) = slot(key) {
            let before = self.texts[slot].replace(value);
            self.overruled.extend(before.map(|before| (key, before)));
        }
    }

    /// What was set of a key before something stronger was, the weakest first.
    pub fn overruled(&self, key: &'static Key) -> impl Iterator<Item = &Value> {
        self.overruled.iter().filter(move |(of, _)| std::ptr::eq(*of, key)).map(|(_, value)| value)
    }

    /// Takes the server of a bucket from AWS's own variables, if nothing else names it.
    pub fn take_aws_endpoint(&mut self) {
        if let Some(slot) = slot(&STORE_ENDPOINT) {
            self.texts[slot] = self.texts[slot].take().or_else(|| self.aws_endpoint.take());
        }
    }

    /// Sets a key whose value is a list, over what was there.
    pub fn set_list(&mut self, key: &'static Key, values: Vec<Value>) {
        if let Some(slot) = slot(key) {
            self.lists[slot] = Some(values);
        }
    }

    /// The elements of a key whose value is a list; none where it isn't set.
    pub fn list(&self, key: &'static Key) -> Vec<Value> {
        slot(key).and_then(|slot| self.lists[slot].clone()).unwrap_or_default()
    }

    /// True if a key whose value is a list is set, be it to an empty one.
    pub fn has_list(&self, key: &'static Key) -> bool {
        slot(key).is_some_and(|slot| self.lists[slot].is_some())
    }

    /// The value of a key, or its default.
    pub fn get(&self, key: &'static Key) -> Option<Value> {
        slot(key)
            .and_then(|slot| self.texts[slot].clone())
            .or_else(|| key.default.map(|text| Value { text: text.to_owned(), origin: Origin::Default }))
    }
}

fn slot(key: &'static Key) -> Option<usize> {
    KEYS.iter().position(|known| std::ptr::eq(*known, key))
}
