//! The fallback table as a source: one row by its path, over a lease like everything else that reaches a database.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::live::{Fetched, LiveError, texts};
use crate::database::{Pool, PoolError, TABLE_FORMAT};
use crate::snapshot::{Digest, unpacked};
use crate::store::Attributes;
use crate::template::scope::{Bind, Statement};

/// Longest time for a row by its primary key: a table that is locked is as good as none.
const LIMIT: Duration = Duration::from_secs(2);

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The pool of the database that it is in.
    pub pool: Pool,
    /// What it says of itself if it is this site's.
    pub site: String,
    /// The file that it is in, if it is in one; it isn't there before something was published.
    pub file: Option<PathBuf>,
}

/// A document of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The document.
    pub fetched: Fetched,
    /// What it is shown with.
    pub attributes: Attributes,
}

/// What it says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The site's name.
    pub site: String,
    /// The release.
    pub release: String,
    /// The release's serial.
    pub serial: u64,
}

/// What is at a path.
#[derive(Debug, Clone)]
pub enum Found {
    /// A document.
    Row(Box<Row>),
    /// None, in this release.
    Nothing,
    /// The table shows another release, or none.
    Other,
    /// A row that can't be shown, and why.
    Broken(String),
}

impl Table {
    /// The document at a path, for somebody who has been waiting `since` an instant, unless the table shows another release
    /// than the one that is known to be active. A row that is damaged, or isn't what that release has, says nothing of the
    /// others.
    pub async fn find(
        &self,
        path: &str,
        active: Option<&str>,
        published: Option<Digest>,
        since: Instant,
    ) -> Result<Found, LiveError> {
        // How long somebody waits for a connection is the pool's affair, and no word about the table.
        let mut lease = self.pool.begin_since(LIMIT, since).await.map_err(LiveError::Pool)?;
        let find = async { texts(lease.transaction(), &statement(path)).await };
        let Ok(found) = tokio::time::timeout(Pool::patience(LIMIT), find).await else {
            lease.give_up();
            return Err(LiveError::TableTooSlow { limit: LIMIT });
        };
        let _ = lease.finish().await;
        let found = found.map_err(|error| match error.is_too_slow() {
            true => LiveError::TableTooSlow { limit: LIMIT },
            false => LiveError::Database(error),
        })?;
        let Some(row) = found.into_iter().next() else { return Ok(Found::Other) };
        Ok(match (self.row(path, row, active), published) {
            (Ok(Found::Row(row)), Some(digest)) if row.fetched.digest != digest => {
                Found::Broken("holds another document than the release".to_owned())
            }
            (Ok(found), _) => found,
            (Err(reason), _) => Found::Broken(reason),
        })
    }

    /// What it shows; none if it can't be read, or says nothing that is known here.
    pub async fn shown(&self) -> Result<Option<Shown>, PoolError> {
        let statement = Statement::verbatim(
            "SELECT site, release, CAST(serial AS TEXT) AS serial, CAST(format AS TEXT) AS format FROM tintype_release \
             WHERE id = 1",
        );
        let mut lease = self.pool.begin_within(LIMIT).await?;
        let Ok(found) = tokio::time::timeout(Pool::patience(LIMIT), texts(lease.transaction(), &statement)).await
        else {
            lease.give_up();
            return Ok(None);
        };
        let _ = lease.finish().await;
        let row = found.ok().and_then(|rows| rows.into_iter().next()).map(<[_; 4]>::try_from);
        let Some(Ok([Some(site), Some(release), Some(serial), Some(format)])) = row else { return Ok(None) };
        let is_known = format.parse::<u32>().is_ok_and(|format| format <= TABLE_FORMAT);
        Ok(serial.parse().ok().filter(|_| is_known).map(|serial| Shown { site, release, serial }))
    }

    /// What a row of the answer means while this is the active release.
    fn row(&self, path: &str, row: Vec<Option<String>>, active: Option<&str>) -> Result<Found, String> {
        let [shown @ .., serial, release, site, format] =
            <[_; 9]>::try_from(row).map_err(|_| "has other columns".to_owned())?;
        let (Some(serial), Some(release), Some(site), Some(format)) = (serial, release, site, format) else {
            return Err("holds NULL".to_owned());
        };
        let serial: u64 = serial.parse().map_err(|_| "has no serial".to_owned())?;
        let format: u32 = format.parse().map_err(|_| "has no format".to_owned())?;
        if site != self.site {
            // The address of a bucket is a part of its name: two that are one to people aren't to us.
            let named = |site: &str| if site.is_empty() { "of its folder".to_owned() } else { format!("`{site}`") };
            return Err(format!("is of the site {}, and this one is {}", named(&site), named(&self.site)));
        }
        if format > TABLE_FORMAT || active.is_some_and(|active| active != release) {
            return Ok(Found::Other);
        }
        if shown.iter().all(Option::is_none) {
            return Ok(Found::Nothing);
        }
        let [Some(body), Some(digest), Some(cache_control), Some(tags), Some(as_of)] = shown else {
            return Err("holds NULL".to_owned());
        };
        let gzip = STANDARD.decode(body).map_err(|error| error.to_string())?;
        let found: Digest = digest.parse()?;
        unpacked(&gzip, Some(&found))?;
        let cache_tags = tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        let instant = as_of.parse::<DateTime<Utc>>().map_err(|error| format!("in {path}: {error}"))?;
        let attributes = Attributes { cache_control, cache_tags, digest, serial, as_of };
        let fetched = Fetched { gzip: gzip.into(), digest: found, as_of: instant };
        Ok(Found::Row(Box::new(Row { fetched, attributes })))
    }
}

fn statement(path: &str) -> Statement {
    let mut statement = Statement::verbatim(
        "SELECT s.body_gzip, s.digest, s.cache_control, s.cache_tags, s.as_of, CAST(r.serial AS TEXT) AS serial, \
         r.release, r.site, CAST(r.format AS TEXT) AS format \
         FROM tintype_release r LEFT JOIN tintype_snapshot s ON s.path = $1 WHERE r.id = 1",
    );
    statement.binds.push(Bind::Text(path.to_owned()));
    statement
}
