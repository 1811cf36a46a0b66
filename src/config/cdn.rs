//! `[cdn]`: where readers fetch, and who is told what has changed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::keys::{self, Key, Kind};
use super::values::Value;
use super::{CdnConfig, Reader, Secret};
use crate::cdn::cloudflare::{Cloudflare, MAX_ORIGINS};
use crate::cdn::cloudfront::{CloudFront, Credentials};
use crate::cdn::fastly::Fastly;
use crate::cdn::webhook::{PATH, Webhook};
use crate::cdn::{Cdn, Driver, Patience, Service};

/// The first wait before a request to a CDN is sent again.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Headers that belong to how a request is sent.
const FRAMING: [&str; 7] = ["connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"];

type Understood<T> = Result<T, (String, String)>;

impl Reader<'_> {
    pub(super) fn cdn(&mut self) -> CdnConfig {
        let url = self.understood(&keys::CDN_URL, |text, _| base_url(text));
        let is_known = |text: &str| match keys::CDN_PURGE.kind {
            Kind::Word(words) => words.contains(&text),
            _ => false,
        };
        let purge = self.understood(&keys::CDN_PURGE, |text, _| match is_known(text) {
            true => Ok(text.to_owned()),
            false => Err((format!("[cdn] purge = \"{text}\" isn't known"), keys::CDN_PURGE.known_words(text))),
        });
        let patience = Patience { limit: self.duration(&keys::PURGE_TIMEOUT), first_wait: FIRST_WAIT };
        let max_paths = self.values.get(&keys::MAX_PATHS).is_some().then(|| self.number(&keys::MAX_PATHS));
        // Each is read whether or not it is the chosen one, so that a wrong value is told before it is needed.
        let (cloudfront, cloudflare) = (self.cloudfront(), self.cloudflare());
        let (fastly, webhook) = (self.fastly(), self.webhook());
        let (driver, needed): (_, &[&'static Key]) = match purge.as_deref() {
            Some("cloudfront") => (cloudfront, &[&keys::CDN_URL, &keys::DISTRIBUTION]),
            Some("cloudflare") => (cloudflare, &[&keys::CDN_URL, &keys::ZONE, &keys::CLOUDFLARE_TOKEN]),
            Some("fastly") => (fastly, &[&keys::CDN_URL, &keys::SERVICE, &keys::FASTLY_TOKEN]),
            Some("webhook") => (webhook, &[&keys::CDN_URL, &keys::WEBHOOK_URL]),
            _ => return CdnConfig { url, purge: Cdn::None },
        };
        let missing: Vec<&Key> = needed.iter().copied().filter(|key| self.values.get(key).is_none()).collect();
        for key in missing {
            let reason = format!("[cdn] purge = \"{}\" needs {}", purge.as_deref().unwrap_or_default(), key.label());
            self.refuse_key(
                &keys::CDN_PURGE,
                &reason,
                &format!("write for example {} under [{}]", key.example(), key.section),
            );
        }
        let purge = match (&url, driver) {
            (Some(site), Some(driver)) => {
                Cdn::Service(Arc::new(Service { site: site.clone(), patience, max_paths, driver }))
            }
            // What is missing or wrong has been refused.
            _ => Cdn::None,
        };
        CdnConfig { url, purge }
    }

    fn cloudfront(&mut self) -> Option<Driver> {
        let distribution = self.understood(&keys::DISTRIBUTION, |text, _| id(&keys::DISTRIBUTION, text));
        let profile = self.understood(&keys::PROFILE, |text, _| Ok(text.trim().to_owned()));
        let tags = self.switch(&keys::CLOUDFRONT_TAGS);
        let api = self.understood(&keys::CLOUDFRONT_API, |text, _| api(&keys::CLOUDFRONT_API, text))?;
        let distribution = distribution?;
        Some(Driver::CloudFront(CloudFront { distribution, profile, tags, api, credentials: Credentials::default() }))
    }

    fn cloudflare(&mut self) -> Option<Driver> {
        let zone = self.understood(&keys::ZONE, |text, _| id(&keys::ZONE, text));
        let token = self.secret(&keys::CLOUDFLARE_TOKEN, token);
        let origins = self.understood(&keys::ORIGINS, |text, _| text.split_whitespace().map(origin).collect());
        let tags = self.switch(&keys::CLOUDFLARE_TAGS);
        let api = self.understood(&keys::CLOUDFLARE_API, |text, _| api(&keys::CLOUDFLARE_API, text))?;
        let origins: Vec<String> = origins.unwrap_or_default();
        if origins.len() > MAX_ORIGINS {
            let reason =
                format!("[cdn.cloudflare] origins are {}, and no request takes a path with all of them", origins.len());
            let hint = format!(
                "name no more than {MAX_ORIGINS}; or let the origin answer everybody alike and leave Origin out of the cache key"
            );
            self.refuse_key(&keys::ORIGINS, &reason, &hint);
        }
        Some(Driver::Cloudflare(Cloudflare { zone: zone?, token: token?, tags, origins, api }))
    }

    fn fastly(&mut self) -> Option<Driver> {
        let service = self.understood(&keys::SERVICE, |text, _| id(&keys::SERVICE, text));
        let token = self.secret(&keys::FASTLY_TOKEN, token);
        let (soft, tags) = (self.switch(&keys::SOFT), self.switch(&keys::FASTLY_TAGS));
        let api = self.understood(&keys::FASTLY_API, |text, _| api(&keys::FASTLY_API, text))?;
        Some(Driver::Fastly(Fastly { service: service?, token: token?, soft, tags, api }))
    }

    fn webhook(&mut self) -> Option<Driver> {
        let url = self.secret(&keys::WEBHOOK_URL, address);
        let by_path = self.understood(&keys::METHOD, |text, _| method(&keys::METHOD, text));
        let secret = self.secret(&keys::WEBHOOK_SECRET, token);
        let header = self.secret(&keys::HEADER, header);
        let everything = self.secret(&keys::EVERYTHING, address);
        let everything_method =
            self.understood(&keys::EVERYTHING_METHOD, |text, _| method(&keys::EVERYTHING_METHOD, text));
        let url = url?;
        if everything.is_some() && !url.expose().contains(PATH) {
            let reason =
                "[cdn.webhook] everything is set, and url has no {path}, so that it is told of everything itself";
            self.refuse_key(
                &keys::EVERYTHING,
                reason,
                "remove the line, or write {path} where the path belongs in url",
            );
        }
        let everything = everything_method.zip(everything);
        Some(Driver::Webhook(Webhook { url, method: by_path?, secret, header, everything }))
    }

    /// The value of a secret key; a refusal must not show it.
    fn secret<T>(&mut self, key: &'static Key, understand: impl Fn(&Key, &str) -> Understood<T>) -> Option<T> {
        self.understood(key, |text, _: &Path| understand(key, text.trim()))
    }

    /// Refuses a value that can be understood, and doesn't go with another one.
    pub(super) fn refuse_key(&mut self, key: &'static Key, reason: &str, hint: &str) {
        let origin = self.values.get(key).map_or(super::Origin::Default, |Value { origin, .. }| origin);
        self.refuse(origin, (reason.to_owned(), hint.to_owned()));
    }
}

fn example(key: &Key) -> String {
    format!("write for example {}", key.example())
}

/// A name that stands in the path of an API.
fn id(key: &Key, text: &str) -> Understood<String> {
    match text.trim().bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(text.trim().to_owned()),
        false => Err((format!("{} `{text}` isn't an id, which is letters and digits", key.label()), example(key))),
    }
}

fn api(key: &Key, text: &str) -> Understood<Url> {
    let url =
        Url::parse(text.trim()).map_err(|error| (format!("{} isn't a URL: {error}", key.label()), example(key)))?;
    let is_plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
    match matches!(url.scheme(), "http" | "https") && is_plain {
        true => Ok(url),
        false => Err((format!("{} isn't the address of an API over http or https", key.label()), example(key))),
    }
}

/// A secret goes into a header, which takes visible characters only.
fn token(key: &Key, text: &str) -> Understood<Secret> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Secret::new(text)),
        false => Err((
            format!("{} holds blanks, or characters that no header takes", key.label()),
            "write the token alone".to_owned(),
        )),
    }
}

fn address(key: &Key, text: &str) -> Understood<Secret> {
    // What is wrong with it isn't told in detail, because it may be a part of it that is secret.
    let with = |path: &str| Url::parse(&text.replace(PATH, path)).ok();
    // Not in the host, or each document would be told to a server of its own.
    let is_behind_host = |url: &Url| with("a/b").is_some_and(|other| other.origin() == url.origin());
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    match with("path").filter(|url| is_web(url) && is_behind_host(url)) {
        Some(_) => Ok(Secret::new(text)),
        None => Err((format!("{} isn't an address over http or https", key.label()), example(key))),
    }
}

fn method(key: &Key, text: &str) -> Understood<String> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    // CONNECT names no path, and whoever takes it forgets nothing.
    match is_word && text != "CONNECT" {
        true => Ok(text.to_owned()),
        false if is_word => Err((format!("{} CONNECT names a server and no path", key.label()), example(key))),
        false => Err((format!("{} `{text}` isn't a method, which is upper-case letters", key.label()), example(key))),
    }
}

fn header(key: &Key, text: &str) -> Understood<(String, Secret)> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_value = |value: &str| !value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    // They say where a request ends; another would be cut off, or never come to its end.
    let is_framing = |name: &str| FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing));
    match text.split_once(':').map(|(name, value)| (name.trim(), value.trim())) {
        Some((name, _)) if is_framing(name) => {
            Err((format!("{} names {name}, which every request has as it needs it", key.label()), example(key)))
        }
        Some((name, value)) if is_name(name) && is_value(value) => Ok((name.to_ascii_lowercase(), Secret::new(value))),
        _ => Err((format!("{} isn't a header, which is a name, a colon and a value", key.label()), example(key))),
    }
}

fn origin(text: &str) -> Understood<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    match url.map(|url| url.origin().ascii_serialization()) {
        Some(origin) if origin == text => Ok(origin),
        Some(origin) => Err((
            format!("[cdn.cloudflare] origins holds `{text}`, and its origin is {origin}"),
            example(&keys::ORIGINS),
        )),
        None => Err((format!("[cdn.cloudflare] origins holds `{text}`, which isn't one"), example(&keys::ORIGINS))),
    }
}

fn base_url(text: &str) -> Result<Url, (String, String)> {
    let hint = || "write for example url = \"https://cdn.example.org\"".to_owned();
    let mut url = Url::parse(text).map_err(|error| (format!("[cdn] url isn't a URL: {error}"), hint()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err((
            format!("[cdn] url has the scheme {}, and browsers fetch by http or https", url.scheme()),
            hint(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("[cdn] url names a user, and readers have none".to_owned(), hint()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("[cdn] url has a query or a fragment, and object paths are appended to it".to_owned(), hint()));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}
