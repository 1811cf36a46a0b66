//! Building one template: domains, scope and the one statement, whose rows `pipeline` takes to staged blobs.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::catalogue::Described;
use super::domain_rows::{domain_rows, listed_rows};
use super::finishers::Finishers;
use super::guard::{self, Answers};
use super::id::RunId;
use super::manifest::Manifest;
use super::mixture::refuse_mixture;
use super::pipeline::{self, Running, Work};
use super::progress::Progress;
use super::refresh::{Consulted, Decision, LeftOut, Records, Why};
use super::row::{Origin, Row};
use crate::database::{DatabaseError, KeyColumns, ReadTransaction, ResultColumn};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::Key;
use crate::template::domain::{DomainRows, Domains, other_kind};
use crate::template::lint::lint_domains;
use crate::template::scope::{Scope, Statement, keyed, whole};
use crate::template::select::{Selector, Takes, scope};
use crate::template::{DomainSource, DomainValues, Template};

/// What every template of a run is built with.
#[derive(Clone)]
pub struct Builder {
    /// What takes its documents to their end.
    pub finishers: Arc<Finishers>,
    /// The name of the run, part of every blob's name.
    pub run: RunId,
    /// The release to compare with.
    pub base: Option<Arc<Manifest>>,
    /// False for a plan, which writes nothing.
    pub stage: bool,
    /// Write every document again, even one whose bytes are those of the release: its blob may be the thing to mend.
    pub rewrite: bool,
    /// When the run began.
    pub now: DateTime<Utc>,
    /// For the progress bar.
    pub progress: Arc<Progress>,
    /// True for a read that takes every valid key, also those outside the hot set.
    pub live: bool,
    /// Is shown every document's path and body.
    pub observe: Option<Observer>,
    /// What the head remembers, for a run that asks refresh queries.
    pub records: Option<Arc<Records>>,
}

/// Is shown an object path and the body that it would have.
pub type Observer = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

/// A template that was read to its end.
#[derive(Debug)]
pub struct Built {
    /// The keys that were asked for.
    pub scope: Scope,
    /// Its documents in the order of their paths; those that were found unchanged are the base's rows.
    pub rows: Vec<Arc<Row>>,
    /// What the others have in common.
    pub origin: Arc<Origin>,
    /// What the catalogue is to say of its keys.
    pub keys: Described,
    /// The columns of the documents.
    pub columns: Vec<String>,
    /// Rows of valid keys that aren't published, or that belong to another scope.
    pub rows_skipped: u64,
    /// True if there were more published combinations than `max_keys`, so that no empty documents were made.
    pub over_max_keys: bool,
    /// Rows that the statement returned.
    pub rows_read: u64,
    /// What the guards asked besides.
    pub answers: Answers,
    /// What it cost.
    pub cost: Cost,
    /// Why it was read, and what its refresh query answered.
    pub consulted: Consulted,
}

/// What a run saw of a template.
#[derive(Debug)]
pub enum Seen {
    /// Its rows.
    Built(Box<Built>),
    /// That they are as they were, without reading them.
    LeftOut(LeftOut),
}

impl From<Built> for Seen {
    fn from(built: Built) -> Seen {
        Seen::Built(Box::new(built))
    }
}

impl Built {
    /// True if every key of the template was read.
    pub fn is_whole(&self) -> bool {
        matches!(self.scope, Scope::All)
    }
}

/// What building a template cost, in seconds of each kind of worker; they overlap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Statements, domains included.
    pub queries: u64,
    /// From sending the statement to its last row.
    pub query_seconds: f64,
    /// Splitting rows into documents.
    pub encode_seconds: f64,
    /// Digesting and compressing.
    pub compress_seconds: f64,
    /// Writing blobs; many may be on their way at once.
    pub write_seconds: f64,
    /// Bytes of the blobs that had to be written.
    pub staged_bytes: u64,
}

/// Why a template wasn't built.
#[derive(Debug)]
pub enum BuildError {
    /// Something about the template or its data; the other templates can go on.
    Template(Box<Diagnostic>),
    /// Something about the command line, the connection or the store; nothing can go on.
    Fatal(Error),
}

impl BuildError {
    /// The same error, with its finding as `of` makes it.
    #[must_use]
    pub fn map(self, of: impl FnOnce(Diagnostic) -> Diagnostic) -> BuildError {
        match self {
            BuildError::Template(finding) => BuildError::Template(Box::new(of(*finding))),
            fatal @ BuildError::Fatal(_) => fatal,
        }
    }
}

impl From<Diagnostic> for BuildError {
    fn from(finding: Diagnostic) -> BuildError {
        BuildError::Template(Box::new(finding))
    }
}

impl From<Error> for BuildError {
    fn from(error: Error) -> BuildError {
        BuildError::Fatal(error)
    }
}

/// Puts a database error on the template's own lines, if the connection survived it.
pub fn statement_error(template: &Template, statement: &Statement, error: DatabaseError) -> BuildError {
    if error.is_fatal() {
        return BuildError::Fatal(error.into());
    }
    let position = match &error {
        DatabaseError::Statement { position: Some(position), .. } => statement.file_offset(*position),
        _ => None,
    };
    let word = |at: usize| {
        let rest = &template.source()[at..];
        at..at + rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()).max(1)
    };
    let span = position.map_or_else(|| template.sql.clone(), word);
    let hint = error.hint().unwrap_or_else(|| {
        "these are the database's own words; a template is plain SQL, so try it in psql or sqlite3 as it stands"
            .to_owned()
    });
    template.error(format!("the query failed: {error}")).at(span).hint(hint).into()
}

/// A template whose keys are known.
pub enum Prepared {
    /// Its statement is written.
    Statement(Box<Written>),
    /// Its statement is left out.
    LeftOut(LeftOut),
}

/// A template whose statement is written.
pub struct Written {
    work: Work,
    statement: Statement,
    /// Documents to come, for the progress bar.
    expected: usize,
    /// Statements that it took to know.
    queries: u64,
    /// Why it is read.
    consulted: Consulted,
}

impl Builder {
    /// Reads the domains of a template and resolves what was selected. That is done for every template before the
    /// first heavy statement, so that a mistake on the command line is told at once. An error leaves the transaction
    /// usable unless it is fatal.
    pub async fn prepare(
        &self,
        transaction: &mut ReadTransaction,
        template: &Arc<Template>,
        selectors: &[&Selector],
    ) -> Result<Prepared, BuildError> {
        let is_asked = |source: &DomainSource| matches!(source.values, DomainValues::Sql(_));
        let is_whole = selectors.iter().any(|selector| selector.is_all());
        if is_whole && !template.domains.iter().any(is_asked) && template.refresh.is_none() {
            // Nothing is asked of the database, so there is nothing to go back from.
            return self.resolve(transaction, template, selectors).await;
        }
        transaction.savepoint().await.map_err(Error::from)?;
        let prepared = self.resolve(transaction, template, selectors).await;
        if matches!(prepared, Err(BuildError::Template(_))) {
            transaction.rollback_to_savepoint().await.map_err(Error::from)?;
        }
        prepared
    }

    /// Runs the statement of a template; what is left to do after that needs no connection. One that breaks off leaves
    /// the transaction usable unless the connection is lost.
    pub async fn run(&self, transaction: &mut ReadTransaction, written: Written) -> Result<Running, BuildError> {
        let Written { work, statement, expected, queries, consulted } = written;
        transaction.savepoint().await.map_err(Error::from)?;
        let before = transaction.statements;
        self.progress.expect(u64::try_from(expected).unwrap_or(0));
        let template = Arc::clone(&work.template);
        let mut running = pipeline::run(self, transaction, work, statement).await;
        if !running.broke_off() && !self.live {
            running.note_answers(guard::ask(transaction, &template, self.now).await);
        } else if running.broke_off() && !running.lost_connection() {
            transaction.rollback_to_savepoint().await.map_err(Error::from)?;
        }
        Ok(running.with_queries(queries + transaction.statements - before).because(consulted))
    }

    async fn resolve(
        &self,
        transaction: &mut ReadTransaction,
        template: &Arc<Template>,
        selectors: &[&Selector],
    ) -> Result<Prepared, BuildError> {
        let before = transaction.statements;
        let mut domains = read_domains(transaction, template).await?;
        let mut committed = self.committed(template);
        if !selectors.iter().any(|selector| selector.is_all()) {
            let entry = self.base.as_ref().and_then(|base| base.root.templates.get(&template.name));
            match refuse_mixture(entry, template, None) {
                // A live answer needs no release; keys of another form of the template would only mislead it.
                Err(_) if self.live => committed = &[],
                fits => fits?,
            }
            remember_open_values(&mut domains, committed);
        }
        let takes = if self.live { Takes::Valid } else { Takes::Published };
        let scope = scope(selectors, template, &domains, takes)
            .map_err(|error| Error::Usage { message: error.message, hint: error.hint })?;
        if self.live {
            domains.publish_all_of(&scope);
        }
        let consulted = match (&self.records, &scope) {
            _ if template.refresh.is_none() => Consulted::unasked(Why::NoRefresh),
            (None, _) | (_, Scope::Some(_)) => Consulted::unasked(Why::SomeKeys),
            (Some(records), Scope::All) => {
                let rows =
                    self.base.as_ref().and_then(|base| base.rows.get(&template.name)).map(|rows| rows.as_slice());
                records.consult(transaction, template, &domains, rows).await?
            }
        };
        if let Decision::Skip { .. } = &consulted.decision {
            let queries = transaction.statements - before;
            return Ok(Prepared::LeftOut(self.leave_out(template, domains, consulted.decision, queries)));
        }
        let (statement, known) = match &scope {
            Scope::All => (whole(template), Vec::new()),
            Scope::Some(_) => {
                let columns = key_columns(transaction, template, &domains).await?;
                let known = if domains.has_open() { outside(committed, &scope) } else { Vec::new() };
                (keyed(template, &scope, &columns, &|_| true), known)
            }
        };
        let expected = match (&scope, committed.len()) {
            (Scope::All, 0) => domains.count_published(std::iter::empty(), template.max_keys).unwrap_or(0),
            (Scope::All, count) => count,
            (Scope::Some(_), _) => 0,
        };
        let work = Work { template: Arc::clone(template), scope, domains, known };
        let queries = transaction.statements - before;
        Ok(Prepared::Statement(Box::new(Written { work, statement, expected, queries, consulted })))
    }

    fn leave_out(&self, template: &Template, mut domains: Domains, decision: Decision, queries: u64) -> LeftOut {
        let rows = self.base.as_ref().and_then(|base| base.rows.get(&template.name)).cloned().unwrap_or_default();
        remember_open_values(&mut domains, &rows);
        let keys = Described::new(template, domains).keys(template, &rows);
        LeftOut { decision, rows, keys, queries }
    }

    /// The rows of a template in the release to compare with.
    pub fn committed(&self, template: &Template) -> &[Arc<Row>] {
        self.base.as_ref().and_then(|base| base.rows.get(&template.name)).map_or(&[], |rows| rows.as_slice())
    }
}

/// Reads the domains of a template in the build's own transaction.
pub async fn read_domains(transaction: &mut ReadTransaction, template: &Template) -> Result<Domains, BuildError> {
    let mut answers: Vec<(&DomainSource, DomainRows)> = Vec::new();
    for source in &template.domains {
        answers.push((source, domain_rows(transaction, template, source).await?));
    }
    let named = |(source, rows): &(_, DomainRows)| {
        let names = rows.columns.iter().map(|column| template.columns()[*column].clone());
        (*source, names.collect::<Vec<String>>())
    };
    let named: Vec<_> = answers.iter().map(named).collect();
    if let Some(finding) = lint_domains(template, &named).into_iter().next() {
        return Err(finding.into());
    }
    Domains::new(template, &answers).map_err(|error| error.diagnostic(template).into())
}

/// The domains of a template whose file lists every value; none if one of them is queried.
pub fn listed_domains(template: &Template) -> Option<Domains> {
    let rows = |source| Some((source, listed_rows(template, source)?));
    let answers: Option<Vec<(&DomainSource, DomainRows)>> = template.domains.iter().map(rows).collect();
    Domains::new(template, &answers?).ok()
}

/// The key columns as the query returns them, so that parameters compare by their types.
pub async fn key_columns(
    transaction: &mut ReadTransaction,
    template: &Template,
    domains: &Domains,
) -> Result<KeyColumns, BuildError> {
    let all = whole(template);
    let columns = transaction.columns(&all).await.map_err(|error| statement_error(template, &all, error))?;
    checked_key_columns(template, &columns, domains)
}

/// The key columns among those that a template's query returns, if these keys can be compared with them.
pub fn checked_key_columns(
    template: &Template,
    columns: &[ResultColumn],
    domains: &Domains,
) -> Result<KeyColumns, BuildError> {
    let columns = KeyColumns::new(template, columns).map_err(|name| {
        template.error(format!("the query doesn't return the key column `{name}`, which the path names"))
    })?;
    // A full build would stumble over the first row; a statement for such a key would just find none.
    for (at, column) in domains.columns().iter().enumerate() {
        for entry in &column.entries {
            if let Some(returned) = columns.refuses(at, &entry.value) {
                return Err(other_kind(template, at, &format!("`{returned}`"), &entry.value).into());
            }
        }
    }
    Ok(columns)
}

/// Open columns know their values only from the active release.
fn remember_open_values(domains: &mut Domains, committed: &[Arc<Row>]) {
    if domains.has_open() {
        for row in committed.iter().filter(|row| row.document.is_some()) {
            // A key of the release that isn't valid any more is no value to choose from.
            let _ = domains.locate(&row.key);
        }
    }
}

/// Keys of the release outside the scope that have rows: they keep the combinations of open columns alive.
fn outside(committed: &[Arc<Row>], scope: &Scope) -> Vec<Key> {
    let has_rows = |row: &&Arc<Row>| row.document.as_ref().is_some_and(|document| document.rows > 0);
    committed.iter().filter(has_rows).filter(|row| !scope.contains(&row.key)).map(|row| row.key.clone()).collect()
}
