//! Releases: the life cycle of a set of documents, from a build to the stable paths.
//!
//! A publish *builds* the documents of its templates without holding anything but one database connection, *merges*
//! what it saw into the committed release, lets the *guards* judge the outcome, *stages* blobs and a manifest that nobody
//! sees, *commits* by one compare-and-swap of `head.json`, and *activates*: the stable paths come to show the blobs. A
//! crash before the commit changes nothing; after it any later run finishes the job from the store alone. Only what
//! changed is written.

mod activate;
mod backlog;
mod barrier;
mod base;
mod broken;
mod build;
pub mod catalogue;
mod check;
pub mod claims;
mod clock;
mod commit;
pub mod compare;
mod debt;
mod domain_rows;
mod doubt;
mod draft;
#[cfg(test)]
mod fault_tests;
mod finishers;
mod growing;
mod guard;
pub mod head;
mod id;
mod inspect;
mod lease;
mod lines;
mod lost;
pub mod manifest;
mod markers;
mod merge;
mod mixture;
mod pipeline;
mod progress;
pub mod prune;
mod publish;
mod purge;
mod refresh;
mod report;
mod restore;
mod resume;
mod rollback;
mod row;
mod shards;
mod side_by_side;
mod staged;
mod table;
mod timing;
mod turn;
mod unpack;
pub mod verify;

pub use activate::{attributes, document_of, tags};
pub use build::{BuildError, checked_key_columns, listed_domains, read_domains, statement_error};
pub use check::check_template;
pub use debt::{Debt, debt, forgotten};
pub use guard::{Moved, MovedUnit, Verdict, grouped};
pub use id::{ReleaseId, RunId};
pub use inspect::{LiveRead, Release, document, live_documents, releases, unpacked};
pub use lost::lost;
pub use progress::{Phase, Progress};
pub use publish::{Job, run};
pub use purge::{PurgeOutcome, Purged, Wanted, purge};
pub use refresh::{Decision, Why};
pub use report::{Counts, Difference, Report, TemplateReport};
pub use resume::{Resumed, resume};
pub use rollback::{Rollback, is_kept, previous, roll_back};
pub use row::{Row, Rows};
pub use staged::publish_staged;
pub use table::{
    TableFlaw, TableOutcome, TableSurvey, Tabled, repair as repair_table, site as table_site, standing, survey_table,
    table_rows,
};
