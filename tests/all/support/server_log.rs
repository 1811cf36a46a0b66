//! The server's own log: what was sent to it, told by itself (`log_statement = all`), not by our counters.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// One statement as the server logged it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The backend; one for each connection.
    pub pid: i32,
    /// The text sent.
    pub sql: String,
}

/// Returns what `tintype` sent to `database` since the log was `start` bytes long.
pub fn statements(log: &Path, start: u64, database: &str) -> Vec<Statement> {
    parse(&read_from(log, start))
        .into_iter()
        .filter(|(name, application, _)| name == database && application.starts_with("tintype"))
        .map(|(_, _, statement)| statement)
        .collect()
}

/// Splits a log into `(database, application, statement)`. Continuation lines begin with a tab.
fn parse(log: &str) -> Vec<(String, String, Statement)> {
    let mut statements: Vec<(String, String, Statement)> = Vec::new();
    // Whether a continuation line belongs to the last statement or to some other message, e.g. its DETAIL.
    let mut open = false;
    for line in log.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let (true, Some((_, _, statement))) = (open, statements.last_mut()) {
                statement.sql.push('\n');
                statement.sql.push_str(more);
            }
            continue;
        }
        open = false;
        let mut fields = line.splitn(4, '|');
        let (Some(pid), Some(database), Some(application), Some(message)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(message) = message.trim_start().strip_prefix("LOG:  ") else {
            continue;
        };
        // "statement: …" is the simple protocol, "execute <unnamed>: …" or "execute sqlx_s_1: …" the extended one.
        let sql = match message.split_once(": ") {
            Some(("statement", sql)) => sql,
            Some((kind, sql)) if kind.starts_with("execute ") => sql,
            _ => continue,
        };
        let Ok(pid) = pid.parse() else { continue };
        open = true;
        let statement = Statement {
            pid,
            sql: sql.to_owned(),
        };
        statements.push((database.to_owned(), application.to_owned(), statement));
    }
    statements
}

fn read_from(path: &Path, start: u64) -> String {
    let mut file = std::fs::File::open(path).expect("open the server's log");
    file.seek(SeekFrom::Start(start))
        .expect("seek in the server's log");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read the server's log");
    String::from_utf8_lossy(&bytes).into_owned()
}
