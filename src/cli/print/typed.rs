//! Commands in messages, as they have to be typed here.
//!
//! A hint names a command without its options: ``tintype publish``. Whoever has named a config file with `-c` would
//! run that against another file, or none, so its option is put in where a message is shown.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use clap::CommandFactory as _;

use super::super::Cli;

/// The option that names the config file.
static OPTION: OnceLock<String> = OnceLock::new();

/// The commands that read no config file.
const WITHOUT: [&str; 4] = ["init", "demo", "completions", "man"];

/// Has commands shown with this config file.
pub fn set_config(path: &Path) {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%=:,".contains(c);
    let option = match path.chars().all(is_plain) {
        true => format!(" -c {path}"),
        false => format!(" -c '{}'", path.replace('\'', r"'\''")),
    };
    let _ = OPTION.set(option);
}

/// A message with its commands as they have to be typed.
pub fn as_typed(text: &str) -> Cow<'_, str> {
    match OPTION.get() {
        Some(option) => with_option(text, option),
        None => Cow::Borrowed(text),
    }
}

fn with_option<'a>(text: &'a str, option: &str) -> Cow<'a, str> {
    const PROGRAM: &str = "tintype";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("tintype ") {
        let (before, after) = rest.split_at(at + PROGRAM.len());
        shown.push_str(before);
        // Only where a command begins: behind a backtick, or at the end of a hint that names it.
        let begins = matches!(before[..at].chars().next_back(), None | Some('`' | ' '));
        if begins && is_command(after.trim_start().split([' ', '`']).next().unwrap_or_default()) {
            shown.push_str(option);
        }
        rest = after;
    }
    match shown.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(shown + rest),
    }
}

fn is_command(word: &str) -> bool {
    !WITHOUT.contains(&word) && Cli::command().get_subcommands().any(|command| command.get_name() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_file() {
        let shown = |text| with_option(text, " -c a.toml").into_owned();
        assert_eq!(shown("`tintype resume` goes on"), "`tintype -c a.toml resume` goes on");
        assert_eq!(
            shown("if so: tintype publish --release 7, or `tintype prune`"),
            "if so: tintype -c a.toml publish --release 7, or `tintype -c a.toml prune`"
        );
        for same in ["`tintype demo --dir D`", "`tintype --help`", "a tintype site", "tintype", "/srv/tintype publish"]
        {
            assert_eq!(shown(same), same);
        }
    }
}
