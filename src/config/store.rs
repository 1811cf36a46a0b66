//! The places that `[store]` can name: a folder, or a prefix of a bucket.

use std::path::{Path, PathBuf};

use super::keys;
use super::{Reader, Secret, StoreConfig, StorePlace};
use crate::store::{Location, S3Settings, normal};

/// The folder beside the public one that keeps releases and blobs.
const CONTROL_NAME: &str = ".tintype";

/// A URL of a store.
pub enum Url {
    /// The folder that readers see, absolute.
    Directory(PathBuf),
    /// The bucket and prefix that readers see.
    S3(Location),
}

impl Reader<'_> {
    /// The store; `database` is where a head may be kept.
    pub(super) fn store(&mut self, database: Option<&Secret>) -> StoreConfig {
        let url = self.understood(&keys::STORE_URL, url);
        let control = match &url {
            None | Some(Url::Directory(_)) => None,
            Some(Url::S3(public)) => {
                // What AWS's other tools take is no business of a directory.
                self.values.take_aws_endpoint();
                self.understood(&keys::STORE_CONTROL, |text, _| control_of_bucket(text, public))
            }
        };
        // Read for a directory as well, so that a wrong value is told before the store is another one.
        let settings = |public: Location, control: Location, reader: &mut Self| S3Settings {
            public,
            control,
            endpoint: reader.understood(&keys::STORE_ENDPOINT, |text, _| endpoint(text)),
            region: reader.understood(&keys::STORE_REGION, |text, _| region(text)),
            concurrency: reader.number(&keys::STORE_CONCURRENCY),
            timeout: reader.duration(&keys::STORE_TIMEOUT),
        };
        let place = match url {
            Some(Url::S3(public)) => {
                let control = control.unwrap_or_else(|| public.default_control());
                StorePlace::S3(settings(public, control, self))
            }
            folder => {
                let unused = Location { bucket: String::new(), prefix: String::new() };
                settings(unused.clone(), unused, self);
                let public = match folder {
                    Some(Url::Directory(public)) => public,
                    _ => PathBuf::new(),
                };
                let control = self.understood(&keys::STORE_CONTROL, |text, folder| control_of(text, folder, &public));
                let control = control.unwrap_or_else(|| public.with_file_name(CONTROL_NAME));
                StorePlace::Directory { public, control }
            }
        };
        let (lease_wait, lease_ttl) = (self.duration(&keys::LEASE_WAIT), self.duration(&keys::LEASE_TTL));
        let head = self.head(&place, database);
        StoreConfig { place, lease_wait, lease_ttl, head }
    }
}

/// Reads the URL of a store; a relative folder counts from `folder`.
pub fn url(text: &str, folder: &Path) -> Result<Url, (String, String)> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err((format!("the store URL `{text}` has no scheme"), format!("write file:{text}")));
    };
    if scheme.eq_ignore_ascii_case("s3") {
        return Location::parse(text).map(Url::S3);
    }
    if !scheme.eq_ignore_ascii_case("file") {
        let hint = "write file:public, or s3://BUCKET/PREFIX for a bucket; the address of a server that isn't AWS goes \
                    into [store] endpoint";
        return Err((format!("the store URL has the scheme {scheme}, and stores are file: or s3:"), hint.to_owned()));
    }
    public(text, rest, folder).map(Url::Directory)
}

fn public(url: &str, rest: &str, folder: &Path) -> Result<PathBuf, (String, String)> {
    let public = folder.join(rest.strip_prefix("//").unwrap_or(rest));
    // The control folder goes beside it, so the root and `..` won't do.
    if rest.is_empty() || public.file_name().is_none() {
        let hint = "write file:public, or file:/srv/site for an absolute path".to_owned();
        return Err((format!("the store URL `{url}` names no folder"), hint));
    }
    match normal(folder).starts_with(normal(&public)) {
        false => Ok(public),
        true => Err((
            format!("the store `{url}` holds the configuration file, which readers could then fetch"),
            "give the snapshots a folder of their own: file:public".to_owned(),
        )),
    }
}

/// Reads the control folder of a directory.
pub fn control_of(text: &str, folder: &Path, public: &Path) -> Result<PathBuf, (String, String)> {
    if text.contains("://") {
        let reason = format!("[store] control `{text}` is a URL, and the store is a folder");
        return Err((reason, format!("name a folder beside it: {}", keys::STORE_CONTROL.example())));
    }
    let control = folder.join(text);
    let (inner, outer) = (resolved(&control), resolved(public));
    if !public.as_os_str().is_empty() && outer != inner && outer.starts_with(&inner) {
        let reason = format!("the public folder lies in [store] control `{text}`, among records that `prune` removes");
        return Err((reason, format!("put them beside each other, as by default: {}", keys::STORE_CONTROL.example())));
    }
    match inner.starts_with(outer) && !public.as_os_str().is_empty() {
        false => Ok(control),
        true => Err((
            format!("[store] control `{text}` lies in the public folder, where readers could fetch it"),
            format!("put it beside the public folder, as by default: {}", keys::STORE_CONTROL.example()),
        )),
    }
}

/// Reads the control prefix of a bucket.
pub fn control_of_bucket(text: &str, public: &Location) -> Result<Location, (String, String)> {
    let hint = || format!("leave the key out for {}", public.default_control().url());
    if !text.contains("://") {
        let reason = format!("[store] control `{text}` is a folder, and the store is a bucket");
        return Err((reason, hint()));
    }
    let control = Location::parse(text).map_err(|(reason, _)| (format!("[store] control {reason}"), hint()))?;
    match public.refuse_control(&control) {
        None => Ok(control),
        Some(refusal) => Err(refusal),
    }
}

/// Reads the address of a store's server.
pub fn endpoint(text: &str) -> Result<String, (String, String)> {
    let hint = || "write for example endpoint = \"https://s3.example.org\"".to_owned();
    let url = url::Url::parse(text).map_err(|error| (format!("[store] endpoint isn't a URL: {error}"), hint()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err((
            format!("[store] endpoint has the scheme {}, and S3 is spoken over http or https", url.scheme()),
            hint(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let hint = "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile".to_owned();
        return Err(("[store] endpoint names a user".to_owned(), hint));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let hint = "the bucket and the prefix go into [store] url: s3://BUCKET/PREFIX".to_owned();
        return Err(("[store] endpoint is more than a server's address".to_owned(), hint));
    }
    Ok(text.trim().trim_end_matches('/').to_owned())
}

/// Reads a region.
pub fn region(text: &str) -> Result<String, (String, String)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match text.trim().bytes().all(is_name) {
        true => Ok(text.trim().to_owned()),
        false => Err((
            format!("[store] region `{text}` isn't the name of a region"),
            format!("write for example {}", keys::STORE_REGION.example()),
        )),
    }
}

/// A path with the links of its existing part followed: a control folder must not get into the public one by a link.
fn resolved(path: &Path) -> PathBuf {
    let path = normal(path);
    let existing = path.ancestors().find_map(|part| Some((part.canonicalize().ok()?, part)));
    existing.map_or_else(
        || path.clone(),
        |(real, part)| path.strip_prefix(part).map_or_else(|_| path.clone(), |rest| real.join(rest)),
    )
}
