//! Checking a template against its database without running it: everything that a build would stumble over before
//! its first row.

use super::build::{BuildError, key_columns, read_domains, statement_error};
use super::{guard, markers, refresh};
use crate::database::{ReadTransaction, explain};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::snapshot::Splitter;
use crate::template::Template;
use crate::template::domain::Chosen;
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
    let published = domains.count_published(std::iter::empty(), template.max_keys);
    if !domains.has_open() {
        findings.extend(match published {
            Some(0) => Some(
                template
                    .warning("no key is published, because a domain has no values or its values never stand together")
                    .hint("run the queries of [keys] by hand; each must return the values of its column"),
            ),
            None => Some(
                template
                    .warning(format!(
                        "there are at least {} published combinations, more than max_keys = {}, so no empty documents are made",
                        template.max_keys + 1,
                        template.max_keys
                    ))
                    .hint("raise max_keys, or publish fewer values of a key column with `publish` in [keys]"),
            ),
            _ => None,
        });
    }
    let sample = domains.find(&Chosen(vec![None; template.columns().len()]), true);
    let sample = sample.filter(|_| published != Some(0));
    let sample = sample.map(|places| domains.key(&places));
    let keys = key_columns(transaction, template, &domains).await?;
    // The splitter checks the columns the way a build does.
    Splitter::new(template, &Scope::All, domains.clone(), columns.clone())?;
    let explained = explain::explain_template(transaction, template, &keys, sample.as_ref()).await;
    findings.extend(explained.map_err(|error| statement_error(template, &all, error))?);
    findings.extend(markers::compare(transaction, template, &keys).await?);
    if let Some(refresh) = &template.refresh {
        findings.extend(refresh::check(transaction, template, refresh).await?);
    }
    findings.extend(guard::check(transaction, template).await?);
    Ok(findings)
}
