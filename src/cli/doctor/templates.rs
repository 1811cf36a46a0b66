//! The templates, as far as their files tell.

use serde_json::json;

use super::super::context::Project;
use super::super::print::{self, counted};
use super::Section;
use crate::diagnostic::{Diagnostic, Severity};
use crate::store::probe::{Subject, Verdict};
use crate::template::lint::lint;

const TEMPLATES: Subject = Subject { name: "templates", means: "a publish finds templates that it can read" };

/// Counts those that can be read, and what is wrong with the others.
pub fn section(project: &Project, findings: &[Diagnostic]) -> Section {
    let lints: Vec<Diagnostic> = project.templates.iter().flat_map(|template| lint(template)).collect();
    let count = |severity| findings.iter().chain(&lints).filter(|one| one.severity == severity).count() as u64;
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let readable = project.templates.len() as u64;
    let outcome = match (errors, warnings) {
        (0, 0) => Verdict::Ok,
        (0, _) => Verdict::Warning,
        _ => Verdict::Broken,
    };
    let detail = format!(
        "{} can be read; {}, {}",
        counted(readable, "template"),
        counted(errors, "error"),
        counted(warnings, "warning")
    );
    let check = TEMPLATES.check(outcome, detail);
    let check = match outcome {
        Verdict::Ok => check,
        _ => check.hint("`tintype check` shows each of them with its line"),
    };
    let found: Vec<_> = findings.iter().chain(&lints).map(print::finding_json).collect();
    Section {
        key: "templates",
        title: project.config.paths.templates_shown.display().to_string(),
        checks: vec![check],
        more: json!({ "readable": readable, "errors": errors, "warnings": warnings, "findings": found }),
    }
}
