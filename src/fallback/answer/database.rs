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
    /// Asks the database for a valid key, for somebody who has been waiting `since` an instant.
    pub(super) async fn ask_database(&self, wanted: &Wanted, asked: &Asked, pool: &Pool, since: Instant) -> Tried {
        let (path, template) = (wanted.path.as_str(), &asked.served.template);
        let error = match live::read(pool, asked, since).await {
            Ok(fetched) => {
                let attributes = self.live_attributes(template, path, &fetched);
                // What is published is answered so only until the store is back.
                let stands_in = wanted.is_published() || wanted.later.is_some();
                let (ttl, site) = (standing(template, path, stands_in), wanted.site.as_deref());
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

/// For how long an answer is shown again: a short time if it `stands_in` for what the store shows.
fn standing(template: &Template, path: &str, stands_in: bool) -> Duration {
    let own = template.limits.ttl;
    spread(if stands_in { own.min(table::TTL) } else { own }, path)
}

/// A time by up to a tenth longer or shorter, so that what was asked for together isn't asked for together again.
fn spread(length: Duration, path: &str) -> Duration {
    let part = u32::from(Digest::of(path.as_bytes()).bytes()[0]);
    length * 9 / 10 + length * part / 255 / 5
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::fallback::memory::{Kept, Memory};

    const PATHS: usize = 400;

    /// How many of many answers that were had together are still fresh after each of these times, one after the other.
    async fn fresh_after(template: &Template, stands_in: bool, times: [Duration; 4]) -> [usize; 4] {
        let (memory, mut passed) = (Memory::new(1 << 20), Duration::ZERO);
        let paths: Vec<String> =
            (0..PATHS).map(|number| format!("{}/topic-{number}/low.json", template.name)).collect();
        for path in &paths {
            memory.put(path, &Arc::new(Entry::small(standing(template, path, stands_in))));
        }
        let mut found = [0; 4];
        for (found, time) in found.iter_mut().zip(times) {
            advance(time.saturating_sub(passed)).await;
            passed = time;
            *found = paths.iter().filter(|path| matches!(memory.get(path, None), Kept::Fresh(_))).count();
        }
        found
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_over_about_the_time_of_their_shipped_template_and_not_all_at_once() {
        let minutes = Duration::from_mins;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let families = [("world-map", minutes(60)), ("country-map", minutes(30)), ("city-map", minutes(10))];
        for (family, ttl) in families {
            let template = Template::load(&folder.join(format!("{family}.sql")), Path::new("templates")).unwrap();
            for (stands_in, ttl) in [(false, ttl), (true, Duration::from_secs(30))] {
                let times = [0.899, 0.95, 1.05, 1.101].map(|part| ttl.mul_f64(part));
                let [before, early, late, after] = fresh_after(&template, stands_in, times).await;
                assert_eq!((before, after), (PATHS, 0), "{family}, {ttl:?}");
                // Evenly over the fifth in between.
                let (most, least) = (PATHS * 3 / 4, PATHS / 4);
                assert!(
                    early.abs_diff(most) < PATHS / 10 && late.abs_diff(least) < PATHS / 10,
                    "{family}: {early}, {late}"
                );
            }
        }
    }
}
