//! The server's own log: what it was asked, how it went about it and by how many connections, told by itself and not by our counters.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::Value;

/// One statement as the server logged it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The backend; one for each connection.
    pub pid: i32,
    /// The text sent.
    pub sql: String,
}

/// What `tintype` did on one database, in the order of the log.
#[derive(Debug, Default)]
pub struct Witness {
    /// Every statement.
    pub statements: Vec<Statement>,
    /// The backends it was let in to, whether or not it then said anything.
    pub connections: Vec<i32>,
    /// The plans of all statements, where the database logs them (see `Database::log_plans`).
    pub plans: Vec<Value>,
}

/// Reads what `tintype` did on `database` since the log was `start` bytes long.
pub fn witness(log: &Path, start: u64, database: &str) -> Witness {
    let mut witness = Witness::default();
    for message in messages(&read_from(log, start)) {
        if message.database != database {
            continue;
        }
        // A connection is logged before its name is set, so the message itself says which.
        if message.text.starts_with("connection authorized:") {
            if message.text.contains("application_name=tintype") {
                witness.connections.push(message.pid);
            }
        } else if message.application.starts_with("tintype") {
            if let Some((_, plan)) = message.text.split_once("plan:\n") {
                let plan = serde_json::from_str(plan).expect("auto_explain logs JSON");
                witness.plans.push(plan);
            } else if let Some(sql) = statement(&message.text) {
                let (pid, sql) = (message.pid, sql.to_owned());
                witness.statements.push(Statement { pid, sql });
            }
        }
    }
    witness
}

/// "statement: …" is the simple protocol, "execute <unnamed>: …" or "execute `sqlx_s_1`: …" the extended one.
fn statement(message: &str) -> Option<&str> {
    let (kind, sql) = message.split_once(": ")?;
    (kind == "statement" || kind.starts_with("execute ")).then_some(sql)
}

struct Message {
    pid: i32,
    database: String,
    application: String,
    text: String,
}

/// Splits a log into its messages of the level LOG. Continuation lines begin with a tab.
fn messages(log: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    // Whether a continuation line belongs to the last message, or to one left out, e.g. a DETAIL.
    let mut open = false;
    for line in log.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let (true, Some(message)) = (open, messages.last_mut()) {
                message.text.push('\n');
                message.text.push_str(more);
            }
            continue;
        }
        let message = message(line);
        open = message.is_some();
        messages.extend(message);
    }
    messages
}

fn message(line: &str) -> Option<Message> {
    let mut fields = line.splitn(4, '|');
    let pid = fields.next()?.parse().ok()?;
    let (database, application) = (fields.next()?, fields.next()?);
    let text = fields.next()?.trim_start().strip_prefix("LOG:  ")?;
    Some(Message { pid, database: database.to_owned(), application: application.to_owned(), text: text.to_owned() })
}

fn read_from(path: &Path, start: u64) -> String {
    let mut file = std::fs::File::open(path).expect("open the server's log");
    file.seek(SeekFrom::Start(start)).expect("seek in the server's log");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read the server's log");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The nodes of a plan that did read `table`. Those that never ran, e.g. because the statement only asked for the columns' types, did not.
pub fn reads_of<'a>(plan: &'a Value, table: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    let mut nodes = vec![&plan["Plan"]];
    while let Some(node) = nodes.pop() {
        if node["Relation Name"] == table && node["Actual Loops"] != 0 {
            found.push(node);
        }
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
    }
    found
}

/// Whether a node reads its table by the condition of an index, and not from one end to the other.
pub fn is_by_index(node: &Value) -> bool {
    // A bitmap heap scan holds the condition once more, for pages that the bitmap has lost count of.
    !node["Index Cond"].is_null() || !node["Recheck Cond"].is_null()
}
