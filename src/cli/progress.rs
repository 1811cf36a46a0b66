//! The progress bar: what a run is doing, how far it is, and when it will be done.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Context;
use super::print;
use crate::release::{Phase, Progress};

/// How often the bar looks at the counters.
const TICK: Duration = Duration::from_millis(100);

/// A bar that follows a run until it is dropped.
pub struct Bar {
    bar: ProgressBar,
    follower: Option<tokio::task::JoinHandle<()>>,
}

impl Bar {
    /// Shows a bar on a terminal, unless that was refused.
    pub fn follow(context: &Context) -> Bar {
        let hidden =
            context.global.no_progress || context.global.quiet || context.global.verbose > 1 || !print::is_terminal();
        if hidden {
            return Bar { bar: ProgressBar::hidden(), follower: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let (shown, progress) = (bar.clone(), Arc::clone(&context.progress));
        let follower = tokio::spawn(async move {
            let mut shown_phase = None;
            loop {
                update(&shown, &progress, &mut shown_phase);
                tokio::time::sleep(TICK).await;
            }
        });
        Bar { bar, follower: Some(follower) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        self.bar.finish_and_clear();
    }
}

/// What decides the form of the bar: the phase, how many documents are expected, and the other publisher that is waited
/// for.
type Form = (Phase, u64, Option<String>);

fn update(bar: &ProgressBar, progress: &Progress, shown: &mut Option<Form>) {
    let phase = progress.phase();
    let (done, expected) = progress.documents();
    let form = (phase, expected, progress.waits_for());
    if shown.as_ref() != Some(&form) {
        bar.reset();
        let template = match &form {
            (.., Some(_)) => "{prefix:>9} {spinner} {msg} {elapsed}",
            (Phase::Build | Phase::Activate | Phase::Verify | Phase::Remove, 1.., None) => {
                "{prefix:>9} {bar:30.green/dim} {human_pos}/{human_len} {msg} ETA {eta}"
            }
            _ => "{prefix:>9} {spinner} {human_pos} {msg} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(expected);
        *shown = Some(form.clone());
    }
    if let (.., Some(holder)) = form {
        bar.set_prefix("Waiting");
        bar.set_message(format!("for {holder}"));
        bar.tick();
        return;
    }
    bar.set_prefix(match phase {
        Phase::Prepare => "Preparing",
        Phase::Build => "Building",
        Phase::Stage => "Staging",
        Phase::Commit => "Committing",
        Phase::Activate => "Activating",
        Phase::Verify => "Verifying",
        Phase::Remove => "Removing",
        Phase::Purge | Phase::PurgeNamed => "Purging",
        Phase::Table => "Fallback",
        Phase::Done | Phase::Serve => "Done",
    });
    bar.set_message(match phase {
        Phase::Build => format!("documents, {} rows", print::grouped(progress.rows())),
        Phase::Activate | Phase::Verify => "paths".to_owned(),
        Phase::Remove => "objects".to_owned(),
        Phase::Prepare
        | Phase::Stage
        | Phase::Commit
        | Phase::Done
        | Phase::Serve
        | Phase::Purge
        | Phase::PurgeNamed
        | Phase::Table => String::new(),
    });
    bar.set_position(done);
    bar.tick();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_waited_for_is_named_as_long_as_that_is_so() {
        let (bar, progress, mut shown) = (ProgressBar::hidden(), Progress::default(), None);
        let mut line = || {
            update(&bar, &progress, &mut shown);
            (bar.prefix(), bar.message())
        };
        progress.enter(Phase::Stage, 0);
        assert_eq!(line(), ("Staging".to_owned(), String::new()));
        assert!(progress.wait_for(Some("db7 process 42")) && !progress.wait_for(Some("db7 process 42")));
        assert_eq!(line(), ("Waiting".to_owned(), "for db7 process 42".to_owned()));
        progress.wait_for(None);
        assert_eq!(line(), ("Staging".to_owned(), String::new()));
    }
}
