//! What the head remembers of a run, whatever became of its release.

use super::super::build::Seen;
use super::super::clock;
use super::super::commit::Runs;
use super::super::head::{Checked, Failed};
use super::super::id::ReleaseId;
use super::{Draft, Drafted};

impl Draft {
    /// Which templates were read whole, and which failed, in the build or in the merge, or were refused and are staged in
    /// that release; for the head.
    pub fn runs(&self, drafted: &Drafted, staged: Option<&ReleaseId>) -> Runs {
        let (at, as_of) = (clock::now(), self.as_of);
        let mut runs = Runs { retired: self.job.retire.clone(), restores: self.restoring.is_some(), ..Runs::default() };
        for (report, (_, seen)) in drafted.reports.iter().zip(&self.outcomes) {
            let name = report.name.clone();
            if let Some(failure) = &report.failure {
                runs.failed.insert(name, Failed { at, as_of, reason: failure.to_string(), staged: None });
                continue;
            }
            if let Some(reason) = report.refusal() {
                runs.failed.insert(name, Failed { at, as_of, reason, staged: staged.cloned() });
                continue;
            }
            match seen {
                Ok(Seen::Built(built)) if built.is_whole() => {
                    let refresh = drafted.refreshed.get(&name).cloned();
                    let as_of = as_of.unwrap_or(at);
                    runs.checked.insert(name, Checked { as_of, at, looked_at: None, refresh });
                }
                Ok(Seen::LeftOut(left_out)) => {
                    runs.looked.extend(left_out.decision.since().map(|since| (name, (since, at))));
                }
                _ => {}
            }
        }
        runs
    }
}
