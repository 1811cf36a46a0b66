//! JSON text → the one text of the same value: keys sorted, no white space, numbers and strings by
//! the rules of the other columns.
//!
//! It works on the text because `serde_json::Value` would turn every decimal number into a double.
//! The grammar is RFC 8259's, strictly: what SQLite's JSON5 allows beyond it is an error.

use super::super::{Rule, ValueError, decimal, number};
use super::{MAX_DEPTH, must_escape, write_string};
use std::borrow::Cow;

/// Appends the canonical form of the JSON value that `text` holds.
///
/// Object keys are sorted by their UTF-8 bytes; of members with one name the last wins, as in
/// `jsonb`. Numbers without an exponent keep their decimal digits, numbers with one pass through a
/// double. Equal values in `json`, `jsonb` and SQLite's text so give equal bytes.
pub fn write_canonical(text: &str, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut writer = Writer { text, at: 0, members: Vec::new(), scratch: Vec::new() };
    writer.skip_white_space();
    writer.value(0, out)?;
    writer.skip_white_space();
    if writer.at < text.len() {
        return Err(writer.error("more text follows the value"));
    }
    Ok(())
}

struct Writer<'a> {
    text: &'a str,
    at: usize,
    /// The members of all open objects, the innermost last, so that a document costs one allocation
    /// and not one per object.
    members: Vec<Member<'a>>,
    scratch: Vec<u8>,
}

/// A member that stands in `out` as `"key":value`.
struct Member<'a> {
    key: Cow<'a, str>,
    start: usize,
    end: usize,
}

impl<'a> Writer<'a> {
    fn error(&self, reason: &'static str) -> ValueError {
        ValueError::Json { at: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1, out),
            Some(b'[') => self.array(depth + 1, out),
            Some(b'"') => {
                let text = self.string()?;
                write_string(&text, out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(b't') => self.word("true", out),
            Some(b'f') => self.word("false", out),
            Some(b'n') => self.word("null", out),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("the text ends where a value is expected")),
        }
    }

    fn word(&mut self, word: &'static str, out: &mut Vec<u8>) -> Result<(), ValueError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn array(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::JsonDepth);
        }
        self.at += 1;
        out.push(b'[');
        self.skip_white_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            out.push(b']');
            return Ok(());
        }
        loop {
            self.skip_white_space();
            self.value(depth, out)?;
            self.skip_white_space();
            match self.peek() {
                Some(b',') => out.push(b','),
                Some(b']') => break,
                _ => return Err(self.error("expected `,` or `]`")),
            }
            self.at += 1;
        }
        self.at += 1;
        out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::JsonDepth);
        }
        self.at += 1;
        out.push(b'{');
        self.skip_white_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            out.push(b'}');
            return Ok(());
        }
        let first_member = self.members.len();
        let body = out.len();
        let mut sorted = true;
        loop {
            self.skip_white_space();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a member's name in double quotes"));
            }
            let key = self.string()?;
            self.skip_white_space();
            if self.peek() != Some(b':') {
                return Err(self.error("expected `:`"));
            }
            self.at += 1;
            self.skip_white_space();
            let start = out.len();
            write_string(&key, out);
            out.push(b':');
            self.value(depth, out)?;
            if self.members.len() > first_member {
                sorted &= self.members.last().is_some_and(|last| last.key < key);
            }
            let end = out.len();
            self.members.push(Member { key, start, end });
            self.skip_white_space();
            match self.peek() {
                Some(b',') => out.push(b','),
                Some(b'}') => break,
                _ => return Err(self.error("expected `,` or `}`")),
            }
            self.at += 1;
        }
        self.at += 1;
        if !sorted {
            self.sort_members(first_member, body, out);
        }
        self.members.truncate(first_member);
        out.push(b'}');
        Ok(())
    }

    /// Puts the members from `first_member` on, whose text begins at `body` in `out`, in the order
    /// of their keys.
    fn sort_members(&mut self, first_member: usize, body: usize, out: &mut Vec<u8>) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&out[body..]);
        out.truncate(body);
        let members = &mut self.members[first_member..];
        // The sort is stable, so that members with one name keep their order and the last of them
        // is the one to keep.
        members.sort_by(|a, b| a.key.cmp(&b.key));
        for (index, member) in members.iter().enumerate() {
            if members.get(index + 1).is_some_and(|next| next.key == member.key) {
                continue;
            }
            if out.len() > body {
                out.push(b',');
            }
            out.extend_from_slice(&self.scratch[member.start - body..member.end - body]);
        }
    }

    /// The string at the cursor, borrowed where it holds no escape.
    fn string(&mut self) -> Result<Cow<'a, str>, ValueError> {
        let text = self.text;
        self.at += 1;
        let mut run = self.at;
        let mut decoded = String::new();
        loop {
            let length = text.as_bytes()[self.at..].iter().position(|&byte| must_escape(byte));
            let Some(length) = length else {
                self.at = text.len();
                return Err(self.error("the text ends within a string"));
            };
            self.at += length;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    decoded.push_str(&text[run..self.at]);
                    decoded.push(self.escape()?);
                    run = self.at;
                }
                _ => return Err(self.error("a control character within a string must be escaped")),
            }
        }
        let last = &text[run..self.at];
        self.at += 1;
        if decoded.is_empty() {
            // Every escape gives a character: nothing decoded means that there was none.
            return Ok(Cow::Borrowed(last));
        }
        decoded.push_str(last);
        Ok(Cow::Owned(decoded))
    }

    fn escape(&mut self) -> Result<char, ValueError> {
        let start = self.at;
        self.at += 1;
        let byte = self.peek();
        self.at += 1;
        let character = match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hexadecimal(start)?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                        return Err(ValueError::Json { at: start, reason: "half of a surrogate pair" });
                    }
                    self.at += 2;
                    let second = self.hexadecimal(start)?;
                    let low = second.wrapping_sub(0xdc00);
                    if low >= 0x400 {
                        return Err(ValueError::Json { at: start, reason: "half of a surrogate pair" });
                    }
                    0x1_0000 + ((first - 0xd800) << 10) + low
                } else {
                    first
                };
                char::from_u32(code).ok_or(ValueError::Json { at: start, reason: "half of a surrogate pair" })?
            }
            _ => {
                return Err(ValueError::Json { at: start, reason: "an unknown escape" });
            }
        };
        Ok(character)
    }

    fn hexadecimal(&mut self, escape_start: usize) -> Result<u32, ValueError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(ValueError::Json { at: escape_start, reason: "`\\u` without four hexadecimal digits" });
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error("expected a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        let written = if exponent {
            let value: f64 = text.parse().map_err(|_| ValueError::Json { at: start, reason: "not a number" })?;
            if value.is_infinite() {
                return Err(ValueError::Json { at: start, reason: "a number beyond the range of a double" });
            }
            number::write_integral_checked(value, out)
        } else {
            decimal::write_text(text, Rule::Plain, out)
        };
        // The front matter's `text` reaches whole columns only, so that its advice would mislead
        // here.
        written.map_err(|error| match error {
            ValueError::BeyondSafeInteger(digits) => ValueError::BeyondSafeIntegerInJson(digits),
            other => other,
        })
    }

    fn digits(&mut self) -> Result<(), ValueError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a digit")) } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "canonical_test.rs"]
mod tests;
