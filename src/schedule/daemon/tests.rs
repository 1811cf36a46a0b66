use std::path::PathBuf;

use super::*;
use crate::cdn::Cdn;
use crate::release::claims::Claims;
use crate::schedule::{Crontab, DueTimes};
use crate::store::Directory;

fn nightly() -> Schedule {
    Schedule {
        name: "nightly".to_owned(),
        due: DueTimes { crontab: Crontab::parse("30 2 * * *").unwrap(), zone: chrono_tz::UTC },
        templates: Vec::new(),
        starting_deadline: Duration::from_hours(1),
        jitter: Duration::ZERO,
        suspend: false,
        retries: 0,
        retry_after: Duration::from_mins(1),
        grace: Duration::from_hours(1),
        time_limit: Duration::from_hours(6),
        prune: false,
        ping: None,
    }
}

fn daemon() -> Daemon {
    let nowhere = PathBuf::from("nowhere");
    let setup = Setup {
        store: Arc::new(Store::Directory(Directory::new(nowhere.clone(), nowhere))),
        run: RunId::new(Utc::now(), 1),
        starter: Starter { config: PathBuf::new(), author: None },
        is_alone: false,
        notifier: Notifier::default(),
        metrics_file: None,
        cdn: Cdn::None,
        known: BTreeSet::new(),
    };
    Daemon::new(setup, vec![nightly()])
}

/// A daemon in the middle of a run.
fn working() -> Daemon {
    let mut daemon = daemon();
    let now = Utc::now();
    daemon.keeper.ask("nightly");
    let claim = daemon.keeper.proposal("nightly", None, now).unwrap().claim;
    daemon.keeper.looked(&Claims::from([("nightly".to_owned(), claim)]), now);
    assert!(matches!(daemon.keeper.steps(now)[..], [Step::Begin(..)]));
    daemon.keeper.begun("nightly");
    daemon
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stopped_run_has_its_time_to_be_recorded() {
    let mut daemon = working();
    daemon.stop();
    // It uses its grace.
    tokio::time::advance(LAST_RECORDS * 10).await;
    assert!(!daemon.is_over(false), "it isn't at its end");
    daemon.ended("nightly", Ended::nothing());
    assert!(!daemon.is_over(false), "the store may not have taken it at the first try");
    tokio::time::advance(LAST_RECORDS + Duration::from_secs(1)).await;
    assert!(daemon.is_over(false), "and isn't waited for without end");
}
