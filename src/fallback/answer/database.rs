//! A document from the database, by the template's own query.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Fallback;
use super::super::figures::Shed;
use super::super::keys::Asked;
use super::super::live::{self, LiveError};
use super::super::memory::Entry;
use super::failures::{FIRST_REST, Failure};
use super::{Source, Tried, Wanted, table};
use crate::database::Pool;
use crate::release::tags;
use crate::snapshot::Digest;
use crate::store::Attributes;
use crate::template::Template;

impl Fallback {
    /// Asks the database for a valid key.
    pub(super) async fn ask_database(&self, wanted: &Wanted, asked: &Asked, pool: &Pool) -> Tried {
        let (path, template) = (wanted.path.as_str(), &asked.served.template);
        let error = match live::read(pool, asked).await {
            Ok(fetched) => {
                let attributes = self.live_attributes(template, path, &fetched);
                // What is published is answered so only until the store is back.
                let own = template.limits.ttl;
                let ttl = if wanted.is_published() || wanted.later.is_some() { own.min(table::TTL) } else { own };
                let (ttl, site) = (spread(ttl, path), wanted.site.as_deref());
                let gzip = self.bodies.hold(fetched.digest, fetched.gzip);
                let entry = Entry::new(gzip, fetched.digest, &attributes, Some(ttl), site);
                let entry = entry.published(wanted.is_published());
                return Tried::over_a_lease(self.landed(wanted, entry, Source::Live));
            }
            Err(error) => error,
        };
        let is_due = error.had_lease();
        let failed = self.failed(path, &error);
        let landed = match error {
            // It may be what the statement does to its server. It may be the server, too, so not for long.
            LiveError::Database(error) if error.is_fatal() => {
                let (length, why) = (FIRST_REST, Shed::Down);
                self.failures.insert(path.into(), Failure { until: Instant::now() + length, length, why });
                failed
            }
            _ => self.rest(path, failed),
        };
        Tried { landed, is_due }
    }

    /// What a document from the database is shown with: readers and edges keep it no longer than this server does, because
    /// no publish will purge it.
    fn live_attributes(&self, template: &Template, path: &str, fetched: &live::Fetched) -> Attributes {
        let ttl = template.limits.ttl.as_secs();
        // Cut short like everything that this server says.
        let cache_control = format!("public, max-age={ttl}, s-maxage={ttl}, stale-while-revalidate={ttl}");
        Attributes {
            cache_control,
            cache_tags: tags(template, path),
            digest: fetched.digest.to_string(),
            serial: self.followed.site().map_or(0, |site| site.serial()),
            as_of: fetched.as_of.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        }
    }
}

/// A time by up to a tenth longer or shorter, so that what was asked for together isn't asked for together again.
fn spread(length: Duration, path: &str) -> Duration {
    let part = u32::from(Digest::of(path.as_bytes()).bytes()[0]);
    length * 9 / 10 + length * part / 255 / 5
}
