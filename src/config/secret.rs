//! Values that never appear in a message, a log line or a `Debug` text.

use std::fmt;

use url::Url;

/// A secret, such as a database URL with its password. Only [`Secret::expose`] gives the text back.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: for whoever needs it to connect, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// True if a database URL carries a password, before the host or as a parameter.
pub fn holds_password(database_url: &str) -> bool {
    Url::parse(database_url).is_ok_and(|url| {
        url.password().is_some() || url.query_pairs().any(|(name, value)| name == "password" && !value.is_empty())
    })
}

/// The text with everything that may be a password replaced by as many `*` as it has bytes, so that spans still fit.
///
/// Findings show the lines around them, and the line with the database's URL may be one of those, under a misspelt key
/// too. So this goes by what URLs look like, and rather hides too much.
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
    hide_database_values(text, &mut hide);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Hides whole values under `[database]`, `[cdn.webhook]` and `[notify]`, and anywhere else those with an `@` or a word like
/// "password" or "postgres": a URL that is misspelt in a way that nobody thought of must not show what is in it.
fn hide_database_values(text: &str, hide: &mut impl FnMut(usize, usize)) {
    let mut inside = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (from, content) = (start, line.trim_end());
        start += line.len();
        let trimmed = content.trim_start();
        if trimmed.starts_with('[') && !trimmed.contains('=') {
            inside = ["[database]", "[cdn.webhook]", "[notify]"].iter().any(|section| trimmed.starts_with(section));
            continue;
        }
        let lower = trimmed.to_ascii_lowercase();
        let is_prose = trimmed.starts_with("# ");
        let suspicious = ["@", "passw", "pwd", "postgres", "head_url"].iter().any(|part| lower.contains(part))
            || (!is_prose && ["token", "secret", "bearer"].iter().any(|part| lower.contains(part)));
        // The keys of these sections that hold no URL; whoever misspells one of them wants to see the line.
        let plain = ["read ", "read=", "max_lag ", "method", "everything_method", "on ", "on="];
        let plain = plain.iter().any(|key| trimmed.starts_with(key));
        let harmless = trimmed.is_empty() || trimmed.starts_with('#') || trimmed.contains("sqlite:") || plain;
        if suspicious || (inside && !harmless) {
            let value = content.find('=').map_or(0, |at| at + 1);
            hide(from + value, from + content.len());
        }
    }
}

fn line_from(text: &str, start: usize) -> &str {
    text[start..].lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_when_exposed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "… … Some(…)");
        assert_eq!(secret.expose(), "hunter2");
    }

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
    fn passwords_are_found() {
        assert!(holds_password("postgres://u:p@h/d"));
        assert!(holds_password("postgres://u@h/d?password=p"));
        assert!(!holds_password("postgres://u@h:5432/d?sslmode=require"));
        assert!(!holds_password("sqlite:demo.db"));
    }
}
