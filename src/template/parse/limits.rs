//! `[limits]`: what the fallback server may spend on a template's documents.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::front_matter::Located;
use crate::template::Limits;

const DEFAULT_PER_MINUTE: u32 = 30;
const DEFAULT_TTL: Duration = Duration::from_mins(10);
const PER_MINUTE: RangeInclusive<u32> = 1..=60_000;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(6);
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// The table as TOML gives it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct LimitsSpec {
    per_minute: Option<Spanned<u32>>,
    timeout: Option<Spanned<String>>,
    ttl: Option<Spanned<String>>,
}

impl Located<'_> {
    /// The limits, with defaults for what isn't written.
    pub fn limits(&mut self, spec: LimitsSpec) -> Limits {
        let LimitsSpec { per_minute, timeout, ttl } = spec;
        if let Some(per_minute) = per_minute.as_ref().filter(|number| !PER_MINUTE.contains(number.get_ref())) {
            self.report(
                per_minute.span(),
                format!("{} is outside of what per_minute may be, from 1 to 60000", per_minute.get_ref()),
                "what one client may cost the database; what the CDN, the store or memory answers isn't counted",
            );
        }
        Limits {
            per_minute: per_minute.map_or(DEFAULT_PER_MINUTE, Spanned::into_inner),
            timeout: timeout.map(|timeout| {
                let hint =
                    "a reader waits for no longer than 7s in all; without it [database.serve] statement_timeout holds";
                self.within(&timeout, ("timeout", "100ms to 6s"), &TIMEOUT, hint)
            }),
            ttl: ttl.map_or(DEFAULT_TTL, |ttl| {
                let hint = "how long an answer from the database stands for later ones; the default is \"10m\"";
                self.within(&ttl, ("ttl", "1s to 1d"), &TTL, hint)
            }),
        }
    }

    fn within(
        &mut self,
        text: &Spanned<String>,
        (name, shown): (&str, &str),
        range: &RangeInclusive<Duration>,
        hint: &str,
    ) -> Duration {
        let length = self.duration(Some(text), *range.end());
        if !range.contains(&length) {
            let message = format!("`{}` is outside of what {name} may be, from {shown}", text.get_ref());
            self.report(text.span(), message, hint);
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::template::Template;

    #[test]
    fn the_shipped_templates_have_the_limits_of_their_families() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let templates = Template::load_all(&folder, &folder).map_err(|findings| format!("{findings:?}")).unwrap();
        let limits: Vec<(&str, Limits)> =
            templates.iter().map(|template| (template.name.as_str(), template.limits)).collect();
        let of = |per_minute, minutes| Limits { per_minute, timeout: None, ttl: Duration::from_mins(minutes) };
        assert_eq!(limits, [("city-map", of(30, 10)), ("country-map", of(20, 30)), ("world-map", of(10, 60))]);
        let source = "/*---\npath = \"else/{k}.json\"\n---*/\nSELECT k, v FROM t ORDER BY k\n".into();
        let other = super::super::parse(Path::new("else.sql"), &source).map_err(|findings| format!("{findings:?}"));
        assert_eq!(other.unwrap().limits, of(30, 10), "what says nothing");
    }
}
