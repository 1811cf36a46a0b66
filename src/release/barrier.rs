//! What a run may not be committed onto, although the swap of the head would go through.
//!
//! Merging compares instants, and a rollback has none: whoever ordered it wants older data than there is. So it is a
//! barrier. A run that began before it stops, whatever it has read, and the next one sees the site as it is now.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::base::Base;
use super::broken::{Safeguard, is_out};
use super::clock;
use super::id::ReleaseId;
use super::manifest::{Kind, Root};
use crate::error::Error;
use crate::store::Store;

/// What isn't committed after this long is given up; `prune` takes what nothing names a day later.
pub const MAX_STAGING: Duration = Duration::from_hours(6 * 24);

/// Refuses to commit onto `base` what was built on the release `built_on` by a run that began at `began`.
pub async fn check(
    store: &Store,
    built_on: Option<&ReleaseId>,
    base: &Base,
    began: DateTime<Utc>,
) -> Result<(), Error> {
    let stop = |reason: String| Err(Error::Overtaken { reason });
    let age = (clock::now() - began).to_std().unwrap_or_default();
    if age > MAX_STAGING {
        let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
        return stop(format!("this run began {age} ago, and what it staged may be pruned by now"));
    }
    if let Some(built_on) = built_on.filter(|_| is_pruned(built_on, base)) {
        return stop(format!("the release {built_on}, on which this run was built, has been pruned meanwhile"));
    }
    match rollback_since(store, built_on, base).await? {
        Some(root) => stop(format!("{} rolled the site back while this run was reading", by(&root))),
        None => Ok(()),
    }
}

/// Says whether blobs of a release may be gone.
pub fn is_pruned(release: Option<&ReleaseId>, base: &Base) -> bool {
    release.zip(base.head().floor.as_ref()).is_some_and(|(release, floor)| release.serial < floor.serial)
}

/// The last rollback that was committed after a release.
pub async fn rollback_since(store: &Store, release: Option<&ReleaseId>, base: &Base) -> Result<Option<Root>, Error> {
    let Some(manifest) = &base.manifest else { return Ok(None) };
    let since = release.map_or(0, |release| release.serial);
    let mut root = manifest.root.clone();
    while root.id.serial > since {
        if root.kind == Kind::Rollback && !is_out(Safeguard::Barrier) {
            return Ok(Some(root));
        }
        let Some(parent) = root.parent.filter(|parent| parent.serial > since) else { break };
        root = Root::read(store, &parent).await?;
    }
    Ok(None)
}

fn by(root: &Root) -> String {
    match &root.author {
        Some(author) => format!("the release {} by {author}", root.id),
        None => format!("the release {}", root.id),
    }
}
