//! The only place that prints.

use std::io::{IsTerminal as _, Write as _};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::{Value, json};

use super::Color;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Error;
pub use crate::release::grouped;

mod typed;

pub use typed::{as_typed, set_config};

/// Good news.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Something wrong.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// Names to type.
pub const CYAN: Style = AnsiColor::Cyan.on_default();
/// What can be skipped.
pub const DIM: Style = Style::new().dimmed();

/// Decides about colours once; `NO_COLOR` and `CLICOLOR_FORCE` are honoured where nothing was said.
pub fn set_color(color: Color) {
    match color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// True if a person is watching.
pub fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// True if stderr shows colours.
pub fn has_color() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Wraps a text in a style; the streams drop it again where colours aren't wanted.
pub fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Set by the first write to stdout that failed.
static LOST: OnceLock<String> = OnceLock::new();

/// Why stdout didn't take everything, if it didn't.
pub fn lost_output() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// A reader that has gone away is no error: `tintype get … | head` is fine. A full disk is one.
fn note_lost(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error.to_string());
    }
}

/// Writes bytes to stdout.
pub fn data(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    note_lost(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes a line of text to stdout.
pub fn line(text: &str) {
    let mut out = anstream::stdout().lock();
    note_lost(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Writes a JSON document to stdout.
pub fn json(document: &Value) {
    let mut text = serde_json::to_vec_pretty(document).unwrap_or_default();
    text.push(b'\n');
    data(&text);
}

/// Writes a line to stderr.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", as_typed(text));
}

/// Writes a question to stderr, to be answered on the same line.
pub fn prompt(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = write!(err, "{text}").and_then(|()| err.flush());
}

/// Shows an error to a person: the spans of files that people write, else one line and a hint.
pub fn error(error: &Error) {
    match error {
        Error::Invalid(findings) | Error::Failed(findings) => findings.iter().for_each(finding),
        other => {
            note(&format!("{}: {other}", styled(RED, "error")));
            if let Some(hint) = other.hint() {
                note(&format!("  {}: {hint}", styled(CYAN, "hint")));
            }
        }
    }
}

/// Shows a finding with the lines it is about.
pub fn finding(finding: &Diagnostic) {
    // The head line names file and line in one piece, for editors and for grep; the drawing below it shows them.
    let (style, word) = match finding.severity {
        Severity::Error => (RED, "error"),
        Severity::Warning => (YELLOW, "warning"),
    };
    let place = finding
        .position()
        .map_or_else(|| finding.file().to_owned(), |(line, column)| format!("{}:{line}:{column}", finding.file()));
    note(&format!("{}: {place}: {}", styled(style, word), finding.message));
    if let Some(drawing) = drawing(finding) {
        note(&drawing);
    }
    if let Some(hint) = &finding.hint {
        note(&format!("  {}: {hint}", styled(CYAN, "hint")));
    }
}

/// The lines that a finding is about, with the place underlined.
fn drawing(finding: &Diagnostic) -> Option<String> {
    finding.position()?;
    let theme = if has_color() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    let mut text = String::new();
    let handler =
        GraphicalReportHandler::new_themed(theme).with_context_lines(1).with_width(width).with_footer(String::new());
    handler.render_report(&mut text, &Snippet(finding)).ok()?;
    Some(text.lines().skip_while(|line| !line.contains('╭')).collect::<Vec<_>>().join("\n").trim_end().to_owned())
}

/// A finding without its texts, which stand above and below the drawing.
#[derive(Debug)]
struct Snippet<'a>(&'a Diagnostic);

impl std::fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(" ")
    }
}

impl std::error::Error for Snippet<'_> {}

impl miette::Diagnostic for Snippet<'_> {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        miette::Diagnostic::source_code(self.0)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        miette::Diagnostic::labels(self.0)
    }
}

/// A finding for programs.
pub fn finding_json(finding: &Diagnostic) -> Value {
    let (line, column) = finding.position().unzip();
    json!({
        "severity": finding.severity,
        "file": finding.file(),
        "line": line,
        "column": column,
        "message": finding.message,
        "hint": finding.hint,
    })
}

/// An error for programs.
pub fn error_json(command: &str, error: &Error) -> Value {
    let findings = match error {
        Error::Invalid(findings) | Error::Failed(findings) => findings.iter().map(finding_json).collect(),
        _ => Vec::new(),
    };
    json!({
        "version": 1,
        "command": command,
        "outcome": "failed",
        "exit_code": error.exit_code(),
        "error": { "message": error.to_string(), "hint": error.hint(), "findings": findings },
    })
}

/// A number with its noun: `1 key`, `2 keys`.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// How long ago or how long: `3h 20m`, two units at most.
pub fn duration(seconds: f64) -> String {
    let Ok(whole) = std::time::Duration::try_from_secs_f64(seconds.max(0.0)) else { return "?".to_owned() };
    if seconds < 60.0 {
        return format!("{seconds:.2}s");
    }
    let text = humantime::format_duration(std::time::Duration::from_secs(whole.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
