//! `check`: config, templates and schedules, and with a database every statement and its plan.

use clap::Args;
use serde_json::{Value, json};

use super::context::{Context, run_id};
use super::{Outcome, print, report};
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Error;
use crate::release::check_template;
use crate::template::Template;
use crate::template::lint::{lint, lint_overlaps};

/// Options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Check the files only; don't connect.
    #[arg(long)]
    offline: bool,
}

impl Check {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.project()?;
        let templates: Vec<&Template> = project.templates.iter().map(AsRef::as_ref).collect();
        let mut findings: Vec<Diagnostic> = templates.iter().flat_map(|template| lint(template)).collect();
        findings.extend(lint_overlaps(&templates));
        let schedules = match project.schedules() {
            Ok(schedules) => schedules.len(),
            Err(Error::Invalid(wrong)) => {
                findings.extend(wrong);
                0
            }
            Err(error) => return Err(error),
        };
        let mut against = None;
        if !self.offline && project.config.database.url.is_some() {
            let database = project.database()?;
            let run = run_id();
            let mut transaction = database.begin(&project.settings, &format!("tintype/check/{run}")).await?;
            against = Some(transaction.source.server.clone());
            if !context.global.quiet {
                report::passed_over(&transaction.source);
            }
            for template in &templates {
                findings.extend(check_template(&mut transaction, template).await?);
            }
            transaction.finish().await?;
        }
        show(context, &findings, (templates.len(), schedules), against.as_deref());
        let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if wrong { Outcome::Invalid } else { Outcome::Done })
    }
}

fn show(context: &Context, findings: &[Diagnostic], (templates, schedules): (usize, usize), against: Option<&str>) {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if context.is_json() {
        let found: Vec<Value> = findings.iter().map(print::finding_json).collect();
        let outcome = if errors > 0 { "invalid" } else { "ok" };
        print::json(&json!({
            "version": 1, "command": "check", "outcome": outcome, "templates": templates, "schedules": schedules,
            "database": against, "errors": errors, "warnings": warnings, "findings": found,
        }));
        return;
    }
    for finding in findings {
        print::finding(finding);
    }
    if context.is_talkative() {
        let scope = against.map_or_else(|| "without a database".to_owned(), |name| format!("against {name}"));
        print::note(&format!(
            "Checked {} and {} {scope}: {}, {}",
            print::counted(templates as u64, "template"),
            print::counted(schedules as u64, "schedule"),
            print::counted(errors, "error"),
            print::counted(warnings, "warning")
        ));
    }
}
