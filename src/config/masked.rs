//! The text of a configuration file as findings show it, without what must not be seen.
//!
//! Findings show the lines around them, and a secret may stand in one of those: at its place, under a misspelt key or in a
//! misspelt section, in a file that no parser takes. So this reads line by line what looks like a section, a key or a
//! value, shows what is known to be harmless, and rather hides too much.

use url::Url;

use super::keys::KEYS;

/// True if a database URL carries a password, before the host or as a parameter.
pub fn holds_password(database_url: &str) -> bool {
    Url::parse(database_url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, value)| name == "password" && !value.is_empty())
    })
}

/// The text with everything that may be secret replaced by as many `*` as it has bytes, so that spans still fit.
pub fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut hide = |from: usize, until: usize| bytes[from..until].fill(b'*');
    for anchor in ["://", "postgres:", "postgresql:"] {
        for (start, _) in text.match_indices(anchor) {
            let authority = start + anchor.len();
            let line = line_from(text, authority);
            // The last `@`, because one in the password may not have been escaped; without any, a typo may have taken its place.
            let end = line.rfind('@').unwrap_or(line.len());
            if let Some(colon) = line[..end].trim_start_matches("//").find(':') {
                let skipped = line[..end].len() - line[..end].trim_start_matches("//").len();
                hide(authority + skipped + colon + 1, authority + end);
            }
        }
    }
    for (start, parameter) in text.match_indices("password=") {
        let value = start + parameter.len();
        let line = line_from(text, value);
        hide(value, value + line.find('&').unwrap_or(line.len()));
    }
    hide_values(text, &mut hide);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Sections in which every value is hidden that isn't known to be harmless; what is below them belongs to them.
const PRIVATE: [&str; 4] = ["cdn", "database", "notify", "fallback"];
/// Words of a line that may hold a password, wherever it stands: a URL that is misspelt in a way that nobody thought of
/// must not show what is in it.
const SUSPICIOUS: [&str; 5] = ["@", "passw", "pwd", "postgres", "head_url"];
/// The same, unless the line is prose.
const TALKED_OF: [&str; 3] = ["token", "secret", "bearer"];

/// Hides whole values, line by line.
fn hide_values(text: &str, hide: &mut impl FnMut(usize, usize)) {
    let mut section = String::new();
    // What a value leaves open that is hidden.
    let mut open = Open::default();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (from, content) = (start, line.trim_end());
        start += line.len();
        let header = header(content).filter(|(name, _)| open.is_closed() || (open.quote.is_none() && is_section(name)));
        if let Some((name, rest)) = header {
            section = name;
            open = Open::default();
            hide(from + rest, from + content.len());
        } else if !open.is_closed() {
            hide(from, from + content.len());
            open.read(content);
        } else if let Some(value) = hidden_value(&section, content) {
            hide(from + value, from + content.len());
            if !content.trim_start().starts_with('#') {
                open.read(&content[value..]);
            }
        }
    }
}

/// Where the part of a line begins that is to be hidden, if there is one.
fn hidden_value(section: &str, line: &str) -> Option<usize> {
    let trimmed = line.trim_start();
    let is_comment = trimmed.starts_with('#');
    let lower = trimmed.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let is_suspicious = has(&SUSPICIOUS) || (!trimmed.starts_with("# ") && has(&TALKED_OF));
    // A setting that is commented out is one all the same.
    let key = line.split_once('=').map(|(key, _)| key).filter(|key| is_key(key.trim_start_matches([' ', '\t', '#'])));
    let value = key.map_or(0, |key| key.len() + 1);
    let is_hidden = match key {
        _ if trimmed.is_empty() => false,
        Some(key) => is_private(section, key.trim_start_matches([' ', '\t', '#']), &trimmed[trimmed.find('=')? + 1..]),
        None => !is_comment && is_private(section, "", ""),
    };
    (is_suspicious || is_hidden).then_some(value)
}

/// True if a value is to be hidden for where it stands.
fn is_private(section: &str, key: &str, value: &str) -> bool {
    let full = [section, &plain(key)].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".");
    let first = full.split('.').next().unwrap_or_default();
    let is_unknown = (!section.is_empty() || full.contains('.'))
        && KEYS.iter().all(|key| key.section.split('.').next() != Some(first));
    if !is_unknown && !PRIVATE.contains(&first) {
        return false;
    }
    // A table of its own may hold anything.
    let is_plain = !value.trim_start().starts_with('{') && !value.contains("\"\"\"") && !value.contains("'''");
    let is_named =
        KEYS.iter().any(|key| !key.is_secret() && full.strip_prefix(key.section) == Some(&format!(".{}", key.name)));
    let is_file = first == "database" && value.contains("sqlite:");
    !(is_plain && (is_named || is_file))
}

/// The section that a line begins, and where the rest of the line does.
fn header(line: &str) -> Option<(String, usize)> {
    let inside = line.trim_start().strip_prefix('[')?.trim_start_matches('[');
    let end = inside.find(|c| !is_part_of_name(c)).unwrap_or(inside.len());
    let rest = inside[end..].trim_start_matches(']');
    // What is a comment there may be shown.
    let rest = if rest.trim_start().starts_with('#') { 0 } else { rest.len() };
    Some((plain(&inside[..end]), line.len() - rest))
}

/// A dotted name without the blanks and quotes that it may be written with.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '\t' | '"' | '\'')).collect::<String>().to_ascii_lowercase()
}

fn is_part_of_name(c: char) -> bool {
    is_bare_character(c) || matches!(c, ' ' | '\t' | '"' | '\'')
}

fn is_bare_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section == name)
}

fn is_key(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().all(is_part_of_name)
}

/// What of a value goes on in the next line.
#[derive(Default)]
struct Open {
    /// The quotes that end a text of several lines.
    quote: Option<&'static str>,
    /// Brackets and braces that aren't closed.
    depth: usize,
}

impl Open {
    fn is_closed(&self) -> bool {
        self.quote.is_none() && self.depth == 0
    }

    /// Reads a line of the value.
    fn read(&mut self, line: &str) {
        let mut rest = line;
        while !rest.is_empty() {
            rest = match self.quote {
                Some(quote) => match end_of_text(rest, quote) {
                    Some(end) => {
                        self.quote = None;
                        &rest[end..]
                    }
                    None => break,
                },
                None if rest.starts_with('#') => break,
                None => match ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote)) {
                    Some(quote) => {
                        self.quote = Some(quote);
                        &rest[quote.len()..]
                    }
                    None => self.outside(rest),
                },
            };
        }
        // A text in single quotes ends with its line, closed or not.
        self.quote = self.quote.filter(|quote| quote.len() == 3);
    }

    /// Takes one character that is in no text; what comes after it.
    fn outside<'a>(&mut self, rest: &'a str) -> &'a str {
        let mut characters = rest.chars();
        match characters.next() {
            Some('[' | '{') => self.depth += 1,
            Some(']' | '}') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        characters.as_str()
    }
}

/// Where a text is over, its quotes included.
fn end_of_text(text: &str, quote: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote.starts_with('"') {
            is_escaped = true;
        } else if text[at..].starts_with(quote) {
            return Some(at + quote.len());
        }
    }
    None
}

fn line_from(text: &str, start: usize) -> &str {
    text[start..].lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for text in [
            "url = \"postgres://u:hunter2@h/d\"\nx = 1",
            "ulr = 'postgresql://u:p@hunter2@h:5432/d' # note",
            "url = \"postgres://u:hunter2#h/d\"",
            "url = \"postgres:u:hunter2@h/d\"",
            "url = \"postgres://u:'hunter2'@h/d\"",
            "url = \"postgres://h/d?password=hunter2&sslmode=require\"",
            "url = \"postgres://u:hünter2@h/d?password=hünter2\"",
            "[database]\nurl = \"postgres//u:hunter2@h/x\"",
            "[database]\nurl = \"\"\"postgres://u\\\n:hunter2@h/x\"\"\"",
            "[database]\nurl = \"postgres://h/x?foo=hunter2\"",
            "[database]\npasswrd = \"hunter2\"",
            "passwd = \"hunter2\"",
            "[database]\nreplicas = [\n  \"postgres://u:hunter2@h/d\",\n  \"hunter2\",\n]",
            "[store]\nhead_url = \"postgres//u:hunter2\"",
            "[fallback]\ntable_url = \"postgres//u:hunter2\"",
            "[store]\nhed_url = \"postgres://h/x?foo=hunter2\"",
            "url = \"host=h user=u pasword=hunter2\"\n[database]\nx = 1".replace("user", "passwd").as_str(),
        ] {
            let masked = masked(text);
            assert_eq!(masked.len(), text.len(), "{masked}");
            assert!(!masked.contains("nter2"), "{masked}");
        }
        assert_eq!(masked("url = \"sqlite:demo.db\" # file:public"), "url = \"sqlite:demo.db\" # file:public");
    }

    #[test]
    fn what_a_cdn_is_told_with_shows_nowhere() {
        for text in [
            "[cdn]\nwebhook.url = \"https://hooks/hunter2\"",
            "cdn.webhook.url = \"https://hooks/hunter2\"",
            "cdn . \"webhook\" . url = \"https://hooks/hunter2\"",
            "[ cdn.webhook ]\nurl = \"https://hooks/hunter2\"",
            "[cdn.\"webhook\"]\nurl = \"https://hooks/hunter2\"",
            "[cdn.webhook\nurl = \"https://hooks/hunter2\"",
            "[cdn.webhook] url = \"https://hooks/hunter2\"",
            "[cdn.webhok]\nurl = \"https://hooks/hunter2\"",
            "webhook.url = \"https://hooks/hunter2\"",
            "[webhook]\nurl = \"https://hooks/hunter2\"",
            "[cdn.webhook]\nurl \"https://hooks/x?y=hunter2\"",
            "[cdn.webhook]\n# url = \"https://hooks/hunter2\"",
            "[cdn]\nwebhook = { url = \"https://hooks/hunter2\", ulr = \"x\" }",
            "cdn = { webhook = { url = \"https://hooks/hunter2\" } }",
            "[cdn]\nmax_paths = { tokn = \"hunter2\" }",
            "[cdn.cloudflare]\ntokn = \"hunter2\"",
            "[cdn.fastly]\nkey = \"hunter2\"",
            "[cdn.cloudflare]\ntoken = \"\"\"\nx = hunter2\n[paths]\nhunter2\"\"\"",
            "token = '''\nhunter2\n'''",
            "[notify]\nwebhook = [\n  \"https://hooks/hunter2\",\n  \"]\", # ]\n  \"hunter2\",\n]",
        ] {
            let masked = masked(text);
            assert_eq!(masked.len(), text.len(), "{masked}");
            assert!(!masked.contains("nter2"), "{masked}");
        }
    }

    #[test]
    fn what_is_harmless_is_shown() {
        for text in [
            "[cdn]\nurl = \"https://cdn.example.org\"\npurge = \"cloudfrnt\" # why\nmax_paths = 0",
            "[ cdn . fastly ]\nservice = \"a/b\"\nsoft = 7",
            "cdn.purge = \"cloudfrnt\"",
            "[store]\nulr = \"file:public\"\n[paths]\nx = [\n",
            "[database]\nurl = \"sqlite:demo.db\"\nread = \"primry\"",
            "[cdn.webhook]\n# what a cache takes\nmethod = \"ban it\"",
        ] {
            assert_eq!(masked(text), text);
        }
        let after = "[database]\nreplicas = [\n  \"hunter2\",\n[store]\nulr = \"file:public\"";
        assert!(masked(after).ends_with("[store]\nulr = \"file:public\""), "an open bracket hides its section only");
    }

    #[test]
    fn passwords_are_found() {
        assert!(holds_password("postgres://u:p@h/d"));
        assert!(holds_password("postgres://u@h/d?password=p"));
        assert!(!holds_password("postgres://u@h:5432/d?sslmode=require"));
        assert!(!holds_password("sqlite:demo.db"));
    }
}
