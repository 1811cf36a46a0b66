//! Doubts: paths that a request may have changed after its sender had given it up, or was taken for dead.
//!
//! A store carries out what it gets, and a network may keep a request for a while: long enough that two releases lie in
//! between. No condition on the request helps, because data that comes back to what it was satisfies it again. So the
//! head notes the doubt, and the first run after which nothing can arrive any more looks at the paths once.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;

use super::activate::Changed;
use super::base::Base;
use super::head::Head;
use super::progress::Progress;
use super::publish::Job;
use super::turn::Turn;
use super::verify::{Settled, settle};
use crate::error::Error;
use crate::store::Store;

/// Looks at the paths in doubt, if it is time and nobody else is at work; mends what isn't as it should be.
pub async fn settle_doubt(
    job: &Job,
    store: &Arc<Store>,
    base: Base,
    progress: &Progress,
) -> Result<(Base, Option<Settled>), Error> {
    let is_due = base.head().suspect.as_ref().is_some_and(|suspect| Utc::now() >= suspect.not_before);
    if !is_due || base.is_unfinished() {
        return Ok((base, None));
    }
    let impatient = Job { lease_wait: Duration::ZERO, ..job.clone() };
    let turn = match Turn::take(&impatient, store, base.clone(), false).await {
        Ok(turn) => turn,
        Err(Error::Locked { .. }) => return Ok((base, None)),
        Err(error) => return Err(error),
    };
    let (Some(suspect), Some(manifest)) = (turn.base.head().suspect.clone(), turn.base.manifest.clone()) else {
        turn.tenure.free(|_| {}).await?;
        return Ok((turn.base.read_again(store).await?, None));
    };
    let settled = match Changed::since(store, suspect.since.as_ref(), &manifest.root).await {
        Ok(doubtful) => settle(&turn.tenure, store, &manifest, doubtful, progress).await,
        Err(error) => Err(error),
    };
    let (activated, mut settled) = match settled {
        Ok(mut settled) => (Ok(std::mem::take(&mut settled.activated)), settled),
        Err(error) => (Err(error), Settled::default()),
    };
    let has_differed = !settled.differed.is_empty();
    let note = |head: &mut Head| {
        if head.suspect.as_ref() == Some(&suspect) {
            head.suspect = None;
            if has_differed {
                // The edge may have what the late request put there.
                head.purged = head.purged.take().min(suspect.since.clone());
            }
        }
    };
    settled.activated = turn.tenure.end(activated, note, progress).await?;
    Ok((turn.base.read_again(store).await?, Some(settled)))
}
