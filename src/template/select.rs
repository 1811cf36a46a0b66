//! Selections: from what a person typed or pasted to the keys that are meant.
//!
//! A KEY is a template's name, `template/seg/seg` with globs, an object path with globs, a document's URL, or the URL
//! of a page. What is typed stays text until the domains are known, because only they can turn a slug into a value.

use std::collections::HashSet;

use glob_match::glob_match;
use url::Url;

use super::Template;
use super::domain::{Chosen, Domains, Entry};
use super::scope::Scope;
use crate::diagnostic::did_you_mean;
use crate::key::Key;

/// One KEY as it was understood: for each key column, what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The template's name.
    pub template: String,
    /// The KEY as it was typed.
    pub typed: String,
    wanted: Vec<Wanted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Any,
    /// A glob over slugs.
    Slug(String),
    /// Values, labels or slugs, any of them.
    OneOf(Vec<String>),
    /// A text with commas: one value that holds them, if there is such a value, and otherwise those between them.
    OneOrSeveral(String, Vec<String>),
}

/// Why a KEY or a `--where` means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectError {
    /// Names what was typed and why it means nothing.
    pub message: String,
    /// What to type instead.
    pub hint: Option<String>,
}

fn fail<T>(message: String, hint: impl Into<Option<String>>) -> Result<T, SelectError> {
    Err(SelectError { message, hint: hint.into() })
}

/// `--where column=value,value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    column: String,
    wanted: Wanted,
}

impl Where {
    /// Reads `column=value,value`.
    pub fn parse(text: &str) -> Result<Where, SelectError> {
        let Some((column, values)) = text.split_once('=') else {
            return fail(
                format!("`{text}` isn't a condition"),
                "write --where topic=crispr, or --where topic=crispr,cancer for either".to_owned(),
            );
        };
        let parts: Vec<String> =
            values.split(',').map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect();
        let wanted = match parts.as_slice() {
            [] => return fail(format!("`{text}` names no value"), "write --where topic=crispr".to_owned()),
            [_] if !values.contains(',') => Wanted::OneOf(parts),
            _ => Wanted::OneOrSeveral(values.trim().to_owned(), parts),
        };
        Ok(Where { column: column.trim().to_owned(), wanted })
    }
}

/// Understands KEYs and conditions; without any KEY every template is meant. `base_url` is where the CDN serves the documents.
pub fn selectors(
    keys: &[String],
    conditions: &[Where],
    templates: &[Template],
    base_url: Option<&Url>,
) -> Result<Vec<Selector>, SelectError> {
    let mut found = Vec::new();
    if keys.is_empty() {
        // A condition speaks of the templates that have its column.
        let meant = templates
            .iter()
            .filter(|template| conditions.iter().all(|condition| template.columns().contains(&condition.column)));
        found.extend(meant.map(|template| Selector::all(template, template.name.clone())));
        if let (true, Some(condition)) = (found.is_empty(), conditions.first()) {
            let columns = templates.iter().flat_map(|template| template.columns().iter().map(String::as_str));
            let hint = did_you_mean(&condition.column, columns).map(|near| format!("did you mean `{near}`?"));
            return fail(format!("no template has the key column `{}`", condition.column), hint);
        }
    }
    for typed in keys {
        found.extend(one_key(typed, templates, base_url)?);
    }
    for selector in &mut found {
        let Some(template) = templates.iter().find(|template| template.name == selector.template) else { continue };
        for condition in conditions {
            selector.restrict(template, condition)?;
        }
    }
    Ok(found)
}

fn one_key(typed: &str, templates: &[Template], base_url: Option<&Url>) -> Result<Vec<Selector>, SelectError> {
    if typed.starts_with("http://") || typed.starts_with("https://") {
        return pasted_url(typed, templates, base_url).map(|selector| vec![selector]);
    }
    let path = typed.trim_start_matches("./").trim_matches('/');
    let found: Vec<Selector> =
        templates.iter().filter_map(|template| Selector::of_path(template, path, typed)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let (head, rest) = path.split_once('/').map_or((path, ""), |(head, rest)| (head, rest));
    if let Some(template) = templates.iter().find(|template| template.name == head) {
        let count = if rest.is_empty() { 0 } else { rest.split('/').count() };
        let columns = template.columns();
        let full: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
        return fail(
            format!(
                "`{typed}` has {count} of the {} key columns of {} ({})",
                columns.len(),
                template.name,
                columns.join(", ")
            ),
            format!("write {}/{}, with * for any", template.name, full.join("/")),
        );
    }
    let names = templates.iter().map(|template| template.name.as_str());
    let hint = match did_you_mean(head, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("templates here are {}", names.collect::<Vec<_>>().join(", ")),
    };
    fail(format!("`{typed}` names no template"), hint)
}

fn pasted_url(typed: &str, templates: &[Template], base_url: Option<&Url>) -> Result<Selector, SelectError> {
    let url = Url::parse(typed).or_else(|error| fail(format!("`{typed}` isn't a URL: {error}"), None))?;
    if let Some(selector) = pasted_page(typed, &url, templates)? {
        return Ok(selector);
    }
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy().into_owned();
    let path = path.trim_start_matches('/');
    let base = base_url.map(|base| base.path().trim_matches('/').to_owned()).unwrap_or_default();
    let below_base = path.strip_prefix(base.as_str()).map(|rest| rest.trim_start_matches('/'));
    // Without a base URL the bucket or a prefix may stand in front of the path: leave segments out until one fits.
    let mut candidates = below_base.into_iter().collect::<Vec<_>>();
    candidates.extend(path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| &path[at + 1..]));
    for candidate in candidates {
        let candidate = candidate.strip_suffix(".gz").unwrap_or(candidate);
        for template in templates {
            if let Some(slugs) = template.pattern.slugs(candidate) {
                let wanted = slugs.into_iter().map(|slug| Wanted::Slug(slug.to_owned())).collect();
                return Ok(Selector { template: template.name.clone(), typed: typed.to_owned(), wanted });
            }
        }
    }
    let patterns: Vec<&str> = templates.iter().map(|template| template.pattern.as_str()).collect();
    fail(
        format!("no template publishes `{typed}`"),
        format!("paths here are {}; a page's URL is understood where its template has a page_url", patterns.join(", ")),
    )
}

/// Several pages may share an address and differ in their parameters: the one is meant that uses most of those that
/// were given, and is left with the fewest columns open.
fn pasted_page(typed: &str, url: &Url, templates: &[Template]) -> Result<Option<Selector>, SelectError> {
    let mut found = Vec::new();
    for template in templates {
        let Some(page) = &template.page_url else { continue };
        if let Some(said) = page.columns(url, template.columns().len()) {
            let open = said.iter().filter(|text| text.is_none()).count();
            found.push(((page.unknown_parameters(url), open), template, said));
        }
    }
    let best = found.iter().map(|(rank, ..)| *rank).min();
    found.retain(|(rank, ..)| Some(*rank) == best);
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|(_, template, _)| template.name.as_str()).collect();
        return fail(
            format!("`{typed}` is the page of several templates: {}", names.join(", ")),
            "name the template: a KEY such as template/seg/seg, or the URL of the document itself".to_owned(),
        );
    }
    Ok(found.pop().map(|(_, template, said)| {
        let wanted = said.into_iter().map(|text| text.map_or(Wanted::Any, |text| Wanted::OneOf(vec![text])));
        Selector { template: template.name.clone(), typed: typed.to_owned(), wanted: wanted.collect() }
    }))
}

impl Selector {
    fn all(template: &Template, typed: String) -> Selector {
        Selector { template: template.name.clone(), typed, wanted: vec![Wanted::Any; template.columns().len()] }
    }

    fn of_path(template: &Template, path: &str, typed: &str) -> Option<Selector> {
        let stem = path.strip_suffix(".gz").unwrap_or(path);
        let globs = template.pattern.globs(stem).or_else(|| {
            let mut parts = stem.split('/');
            let name = parts.next()?;
            let segments: Vec<&str> = parts.collect();
            if !glob_match(name, &template.name) {
                return None;
            }
            match segments.as_slice() {
                [] | ["**"] => Some(vec!["*"; template.columns().len()]),
                _ if segments.len() == template.columns().len()
                    && segments.iter().all(|segment| !segment.is_empty()) =>
                {
                    Some(segments.iter().map(|segment| segment.strip_suffix(".json").unwrap_or(segment)).collect())
                }
                _ => None,
            }
        })?;
        let wanted =
            globs.into_iter().map(|glob| if glob == "*" { Wanted::Any } else { Wanted::Slug(glob.to_owned()) });
        Some(Selector { template: template.name.clone(), typed: typed.to_owned(), wanted: wanted.collect() })
    }

    fn restrict(&mut self, template: &Template, condition: &Where) -> Result<(), SelectError> {
        let columns = template.columns();
        let Some(column) = columns.iter().position(|known| *known == condition.column) else {
            let near = did_you_mean(&condition.column, columns.iter().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            return fail(
                format!("{} has no key column `{}`", template.name, condition.column),
                near.unwrap_or_else(|| format!("its key columns are {}", columns.join(", "))),
            );
        };
        let said = match &self.wanted[column] {
            Wanted::Any => None,
            Wanted::Slug(glob) => Some(glob.clone()),
            Wanted::OneOf(values) => Some(values.join(",")),
            Wanted::OneOrSeveral(whole, _) => Some(whole.clone()),
        };
        if let Some(said) = said {
            return fail(
                format!("`{}` already says {} = {said}", self.typed, condition.column),
                "say each key column once".to_owned(),
            );
        }
        self.wanted[column] = condition.wanted.clone();
        Ok(())
    }

    /// True if the selector asks nothing of any column.
    pub fn is_all(&self) -> bool {
        self.wanted.iter().all(|wanted| *wanted == Wanted::Any)
    }

    /// Decides for each text with commas whether it is one value, given which values there are.
    #[must_use]
    pub fn settled(&self, is_value: &dyn Fn(usize, &str) -> bool) -> Selector {
        let settle = |(column, wanted): (usize, &Wanted)| match wanted {
            Wanted::OneOrSeveral(whole, _) if is_value(column, whole) => Wanted::OneOf(vec![whole.clone()]),
            Wanted::OneOrSeveral(_, parts) => Wanted::OneOf(parts.clone()),
            other => other.clone(),
        };
        Selector { wanted: self.wanted.iter().enumerate().map(settle).collect(), ..self.clone() }
    }

    /// Says whether a document of a release is meant. Labels aren't known here: a release holds values and paths only.
    pub fn means(&self, template: &Template, path: &str, key: &Key) -> bool {
        let Some(slugs) = template.pattern.slugs(path) else { return false };
        self.wanted.iter().zip(slugs).zip(&key.0).all(|((wanted, slug), value)| match wanted {
            Wanted::Any => true,
            Wanted::Slug(glob) => glob == slug || glob_match(glob, slug),
            Wanted::OneOf(texts) | Wanted::OneOrSeveral(_, texts) => {
                texts.iter().any(|text| text == slug || *text == value.to_string())
            }
        })
    }

    /// The places that the selector chooses in each column.
    fn chosen(&self, template: &Template, domains: &Domains) -> Result<Chosen, SelectError> {
        let choose = |column: usize, text: &str, test: &dyn Fn(&Entry) -> bool| match domains.choose(column, test) {
            places if places.is_empty() => self.unknown(template, domains, column, text),
            places => Ok(places),
        };
        let choice = |(column, wanted): (usize, &Wanted)| match wanted {
            Wanted::Any => Ok(None),
            Wanted::Slug(glob) => {
                choose(column, glob, &|entry| *entry.slug == **glob || glob_match(glob, &entry.slug)).map(Some)
            }
            Wanted::OneOf(texts) | Wanted::OneOrSeveral(_, texts) => {
                let mut places = HashSet::new();
                for text in texts {
                    places.extend(choose(column, text, &|entry| means(entry, text))?);
                }
                Ok(Some(places))
            }
        };
        let is_value = |column: usize, text: &str| !domains.choose(column, &|entry| means(entry, text)).is_empty();
        self.settled(&is_value).wanted.iter().enumerate().map(choice).collect::<Result<_, _>>().map(Chosen)
    }

    /// Refuses what isn't there: values that never stand together, and unless any valid key will do keys outside the
    /// hot set, which would vanish with the next full build.
    fn refuse_none(
        &self,
        template: &Template,
        domains: &Domains,
        chosen: &Chosen,
        takes: Takes,
    ) -> Result<(), SelectError> {
        let Some(valid) = domains.find(chosen, false) else {
            return fail(
                format!("`{}` is not a combination that exists", self.typed),
                format!("[keys] in {} says which values stand together", template.file().display()),
            );
        };
        if takes == Takes::Valid || domains.find(chosen, true).is_some() {
            return Ok(());
        }
        let limits: Vec<String> = domains
            .unpublished(&valid)
            .into_iter()
            .map(|column| {
                let name = &template.columns()[column];
                let source = template.domains.iter().find(|source| source.column == *name);
                let publish = source.and_then(|source| source.publish).unwrap_or_default();
                format!("[keys.{name}] publish = {publish}")
            })
            .collect();
        fail(
            format!("`{}` is valid but outside the hot set of {} ({})", self.typed, template.name, limits.join(", ")),
            format!(
                "raise `publish` in {}, or ask the database: tintype get --from live {}",
                template.file().display(),
                self.typed
            ),
        )
    }

    fn unknown<T>(&self, template: &Template, domains: &Domains, column: usize, text: &str) -> Result<T, SelectError> {
        let name = &template.columns()[column];
        let hint = match domains.nearest(column, text) {
            Some(near) => format!("did you mean `{near}`?"),
            None if domains.columns()[column].open => {
                format!(
                    "{name} has no domain, so only values of the active release are known: run a full `tintype publish {}`, or add [keys.{name}]",
                    template.name
                )
            }
            None => format!("[keys.{name}] of {} says which values exist", template.file().display()),
        };
        fail(format!("`{}`: {name} has no value `{text}`", self.typed), hint)
    }
}

fn means(entry: &Entry, text: &str) -> bool {
    *entry.slug == *text || entry.value.to_string() == text || entry.label.as_deref() == Some(text)
}

/// Which keys a selector may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Those whose documents are pre-built.
    Published,
    /// Those that are valid.
    Valid,
}

/// The scope that the selectors of one template mean together.
pub fn scope(
    selectors: &[&Selector],
    template: &Template,
    domains: &Domains,
    takes: Takes,
) -> Result<Scope, SelectError> {
    if selectors.iter().any(|selector| selector.is_all()) {
        return Ok(Scope::All);
    }
    let filter = |selector: &&Selector| {
        let chosen = selector.chosen(template, domains)?;
        selector.refuse_none(template, domains, &chosen, takes)?;
        Ok(domains.filter(&chosen))
    };
    selectors.iter().map(filter).collect::<Result<_, _>>().map(Scope::Some)
}
