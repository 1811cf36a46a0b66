//! Checking a template against its database without running it: everything that a build would stumble over before
//! its first row.

use super::build::{BuildError, key_columns, read_domains, statement_error};
use crate::database::{ReadTransaction, explain};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::snapshot::Splitter;
use crate::template::Template;
use crate::template::lint::{lint_columns, lint_float_sums};
use crate::template::scope::{Scope, whole};

/// Checks one template; what is found is returned, and only what ends the connection is an error.
pub async fn check_template(transaction: &mut ReadTransaction, template: &Template) -> Result<Vec<Diagnostic>, Error> {
    transaction.savepoint().await?;
    match findings(transaction, template).await {
        Ok(findings) => Ok(findings),
        Err(BuildError::Template(finding)) => {
            transaction.rollback_to_savepoint().await?;
            Ok(vec![*finding])
        }
        Err(BuildError::Fatal(error)) => Err(error),
    }
}

async fn findings(transaction: &mut ReadTransaction, template: &Template) -> Result<Vec<Diagnostic>, BuildError> {
    let domains = read_domains(transaction, template).await?;
    let all = whole(template);
    let columns = transaction.columns(&all).await.map_err(|error| statement_error(template, &all, error))?;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut findings = lint_columns(template, &names);
    if !findings.is_empty() {
        return Ok(findings);
    }
    let floats: Vec<&str> =
        columns.iter().filter(|column| column.kind.is_float()).map(|column| column.name.as_str()).collect();
    findings.extend(lint_float_sums(template, &floats));
    let sample = domains.published(&[], template.max_keys).unwrap_or_default();
    if sample.is_empty() && !domains.columns().iter().any(|column| column.open) {
        findings.push(
            template
                .warning("no key is published: its domains are empty, or there are more combinations than max_keys")
                .hint("see [keys] and max_keys in the front matter"),
        );
    }
    let sample = sample.first().map(|places| domains.key(places));
    let keys = key_columns(transaction, template, &domains).await?;
    // The splitter checks the columns the way a build does.
    Splitter::new(template, &Scope::All, domains.clone(), columns.clone())?;
    let explained = explain::explain_template(transaction, template, &keys, sample.as_ref()).await;
    findings.extend(explained.map_err(|error| statement_error(template, &all, error))?);
    Ok(findings)
}
