//! Consulting a refresh query before the query of its template, and what it means that the latter is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Asked, Decision, Evidence, Known, Refreshed, Why, ask, decide, digest_of_reader, digest_of_rows};
use crate::database::{Database, ReadSettings, ReadTransaction};
use crate::release::build::BuildError;
use crate::release::catalogue::Keys;
use crate::release::head::{Checked, Failed, Head};
use crate::release::row::{Row, Rows};
use crate::snapshot::Digest;
use crate::template::Template;
use crate::template::domain::Domains;

/// What a run knows before it asks the first refresh query.
#[derive(Debug)]
pub struct Records {
    checked: BTreeMap<String, Checked>,
    failed: BTreeMap<String, Failed>,
    reader: Digest,
    is_forced: bool,
}

/// What became of the question whether a template has to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consulted {
    /// Whether it is read, and why.
    pub decision: Decision,
    /// What its refresh query answered; none where it wasn't asked.
    pub evidence: Option<Evidence>,
}

/// A template whose query was left out.
#[derive(Debug)]
pub struct LeftOut {
    /// Why.
    pub decision: Decision,
    /// The documents that stay, as the run found them committed.
    pub rows: Rows,
    /// What the catalogue says of its keys.
    pub keys: Keys,
    /// Statements that it took to know.
    pub queries: u64,
}

impl Records {
    /// What the head remembers. `is_forced` is true for a run that reads whatever the answers are.
    pub fn new(head: &Head, is_forced: bool, database: &Database, settings: &ReadSettings) -> Records {
        Records {
            checked: head.checked.clone(),
            failed: head.failed.clone(),
            reader: digest_of_reader(&database.identity(), &settings.settings),
            is_forced,
        }
    }

    /// Asks the refresh query of a template, if it has one and is to be read whole, and decides. `rows` are those of the
    /// release, if that has the template.
    pub async fn consult(
        &self,
        transaction: &mut ReadTransaction,
        template: &Template,
        domains: &Domains,
        rows: Option<&[Arc<Row>]>,
    ) -> Result<Consulted, BuildError> {
        let Some(refresh) = &template.refresh else { return Ok(Consulted::unasked(Why::NoRefresh)) };
        let answer = ask(transaction, template, refresh).await?;
        let evidence = Evidence::new(answer, template, domains, self.reader);
        let asked = Asked { is_forced: self.is_forced, as_of: transaction.as_of, at_least: refresh.at_least };
        let (checked, failed) = (self.checked.get(&template.name), self.failed.get(&template.name));
        let decision = decide(asked, &evidence, &Known { checked, failed, rows });
        tracing::info!(template = template.name, %decision, "asked the refresh query");
        Ok(Consulted { decision, evidence: Some(evidence) })
    }
}

impl Consulted {
    /// A template that is read without asking.
    pub fn unasked(why: Why) -> Consulted {
        Consulted { decision: Decision::Read(why), evidence: None }
    }

    /// What the head is to remember of a complete read after which the release has these rows.
    pub fn record(&self, rows: &[Arc<Row>]) -> Option<Refreshed> {
        let evidence = self.evidence.clone()?;
        // A row that is newer than the read, or held, may have kept other headers.
        let has_headers = |row: &Arc<Row>| row.document.is_none() || row.origin.policy == evidence.policy;
        let is_as_read = rows.iter().all(|row| row.origin.held || has_headers(row));
        is_as_read.then(|| Refreshed { rows: digest_of_rows(rows), evidence })
    }
}
