//! A tokenizer for SQL, just good enough to tell words from strings and comments in both dialects.
//!
//! It never decides what SQL means; it finds markers, the end of the statement and the words that the lints look for,
//! none of which may be found inside a string.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a bare identifier.
    Word,
    /// `"name"`.
    QuotedName,
    /// `'text'`, `E'text'`, `$tag$text$tag$`.
    Text,
    /// A number.
    Number,
    /// `-- …` up to the end of its line.
    LineComment,
    /// `/* … */`.
    BlockComment,
    /// One character of anything else.
    Symbol,
}

/// One token and its bytes in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

impl Token {
    /// The token's text.
    pub fn text<'a>(&self, sql: &'a str) -> &'a str {
        &sql[self.span.clone()]
    }

    /// True for the given keyword in any case.
    pub fn is_word(&self, sql: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(sql).eq_ignore_ascii_case(word)
    }

    /// True for the given symbol.
    pub fn is_symbol(&self, sql: &str, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text(sql) == symbol
    }

    /// True for both kinds of comment.
    pub fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::LineComment | Kind::BlockComment)
    }
}

/// Splits SQL into tokens; white space is left out. A string or comment that isn't closed reaches to the end.
pub fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (kind, len) = next(sql, at);
        found.push(Token { kind, span: at..at + len });
        at += len;
    }
    found
}

fn next(sql: &str, at: usize) -> (Kind, usize) {
    let rest = &sql[at..];
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'-' if rest.starts_with("--") => (Kind::LineComment, rest.find('\n').unwrap_or(rest.len())),
        b'/' if rest.starts_with("/*") => (Kind::BlockComment, block_comment(rest)),
        b'\'' => (Kind::Text, quoted(rest, b'\'', false)),
        b'e' | b'E' if bytes.get(1) == Some(&b'\'') => (Kind::Text, 1 + quoted(&rest[1..], b'\'', true)),
        b'"' => (Kind::QuotedName, quoted(rest, b'"', false)),
        b'$' => dollar_quoted(rest).map_or((Kind::Symbol, 1), |len| (Kind::Text, len)),
        b if b.is_ascii_digit() => {
            (Kind::Number, rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'.').count())
        }
        _ => {
            let word: usize =
                rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$')).map(char::len_utf8).sum();
            match word {
                0 => (Kind::Symbol, rest.chars().next().map_or(1, char::len_utf8)),
                len => (Kind::Word, len),
            }
        }
    }
}

/// Length of a quoted token; the quote doubled stands for itself, and so does a backslashed one in `E'…'`.
fn quoted(rest: &str, quote: u8, backslash: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if backslash && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    rest.len()
}

/// Length of a block comment. PostgreSQL nests them and SQLite doesn't; a nested one is refused before it gets here.
fn block_comment(rest: &str) -> usize {
    rest[2..].find("*/").map_or(rest.len(), |end| end + 4)
}

fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag_len = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_len];
    let name = &tag[1..tag_len - 1];
    let is_tag =
        name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    Some(rest[tag_len..].find(tag).map_or(rest.len(), |end| tag_len + end + tag_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, &str)> {
        tokens(sql).into_iter().map(|token| (token.kind, &sql[token.span])).collect()
    }

    #[test]
    fn strings_and_comments_hide_what_is_in_them() {
        assert_eq!(
            kinds("a 'it''s; --' \"b\"\"c\" $x$ ; $x$ E'\\'' -- ;\n/* ; */ ; $1 1.5"),
            vec![
                (Kind::Word, "a"),
                (Kind::Text, "'it''s; --'"),
                (Kind::QuotedName, "\"b\"\"c\""),
                (Kind::Text, "$x$ ; $x$"),
                (Kind::Text, "E'\\''"),
                (Kind::LineComment, "-- ;"),
                (Kind::BlockComment, "/* ; */"),
                (Kind::Symbol, ";"),
                (Kind::Symbol, "$"),
                (Kind::Number, "1"),
                (Kind::Number, "1.5"),
            ]
        );
    }

    #[test]
    fn what_is_not_closed_reaches_to_the_end() {
        assert_eq!(kinds("'abc"), vec![(Kind::Text, "'abc")]);
        assert_eq!(kinds("/* abc"), vec![(Kind::BlockComment, "/* abc")]);
        assert_eq!(kinds("名 = '苏州'"), vec![(Kind::Word, "名"), (Kind::Symbol, "="), (Kind::Text, "'苏州'")]);
    }
}
