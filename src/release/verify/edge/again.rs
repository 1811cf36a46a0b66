//! Purging again what an edge shows although it was to forget it, until it does or the time is over.
//!
//! A request that the edge sent to the origin before a release can bring back what was there then just after the purge,
//! and a CDN that has promised to forget may take half a minute. So after a purge the paths are looked at again and
//! again, with growing pauses, and purged once more at half time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::super::head::HeadRead;
use super::super::super::manifest::Manifest;
use super::super::super::purge::{Wanted, purge};
use super::targets::Target;
use super::{Edge, Looks, Survey, leave_out_moving, look_at_all};
use crate::error::Error;

/// How often the paths are purged.
const PURGES: u32 = 2;
/// The first pause before looking again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// What came of purging again.
#[derive(Debug)]
pub struct Again {
    /// How many paths were purged.
    pub paths: u64,
    /// How often.
    pub purges: u32,
    /// Why the CDN couldn't be told, if it couldn't.
    pub error: Option<Error>,
    /// What is still not as it should be, or can't be told.
    pub remaining: Looks,
    /// How long it took.
    pub took: Duration,
}

/// Purges what a survey found to be the edge's fault, and looks at it again for at most `wait`; none if there is nothing.
pub async fn purge_again(edge: Edge<'_>, survey: &Survey, wait: Duration) -> Result<Option<Again>, Error> {
    let to_purge = survey.looks.findings.iter().filter(|finding| !finding.origin);
    let mut paths: Vec<Arc<str>> = to_purge.map(|finding| Arc::clone(&finding.path)).collect();
    if edge.cdn.is_none() || paths.is_empty() {
        return Ok(None);
    }
    let began = Instant::now();
    let mut manifest = Manifest::read(edge.store, &survey.release).await?;
    let mut again =
        Again { paths: paths.len() as u64, purges: 0, error: None, remaining: Looks::default(), took: wait };
    for round in 1..=PURGES {
        let purged = purge(edge.store, edge.cdn, &Wanted::Paths(paths.clone()), true, edge.progress).await?;
        again.error = purged.error;
        again.purges += 1;
        // What wasn't told to anybody isn't worth waiting for.
        let wait = if again.error.is_some() { Duration::ZERO } else { wait / PURGES };
        again.remaining = look_until(edge, &paths, &mut manifest, wait).await?;
        paths = again.remaining.findings.iter().map(|finding| Arc::clone(&finding.path)).collect();
        if again.error.is_some() || paths.is_empty() || round == PURGES {
            break;
        }
    }
    again.took = began.elapsed();
    Ok(Some(again))
}

/// Looks at paths again until they are as they should be, or for as long as one waits; what they are at the end.
async fn look_until(
    edge: Edge<'_>,
    paths: &[Arc<str>],
    manifest: &mut Manifest,
    wait: Duration,
) -> Result<Looks, Error> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        // Another release may be active by now.
        let release = super::super::active(&HeadRead::read(edge.store).await?.head)?;
        if manifest.root.id != release {
            *manifest = Manifest::read(edge.store, &release).await?;
        }
        let targets = paths.iter().map(|path| Target::of(manifest, path)).collect();
        let mut looks = look_at_all(edge, targets).await;
        leave_out_moving(edge.store, &release, &mut looks).await?;
        // The wait may be longer than any clock goes.
        let left = wait.saturating_sub(began.elapsed());
        if looks.is_fresh() || left.is_zero() {
            return Ok(looks);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause *= 2;
    }
}
