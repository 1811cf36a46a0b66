//! `[fallback]`: where the documents are left behind for whoever answers without the store, and how `serve` answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytesize::ByteSize;
use ipnet::IpNet;
use url::Url;

use super::keys;
use super::values::Value;
use super::{FallbackConfig, Reader, Secret, ServeConfig, StorePlace, TablePlace};
use crate::database::Database;

/// The file beside the records of a folder.
const FILE_NAME: &str = "fallback.db";

impl Reader<'_> {
    /// Where the table is, of a site in this place that is built from this database.
    pub(super) fn fallback(&mut self, place: &StorePlace, database: Option<&Secret>) -> FallbackConfig {
        let table_timeout = self.duration(&keys::TABLE_TIMEOUT);
        let is_on = self.switch(&keys::TABLE);
        let url = self.understood(&keys::TABLE_URL, |text, folder| {
            let read = super::database::database_url(text, folder);
            read.map(|_| Secret::new(text))
                .map_err(|(reason, hint)| (format!("in [fallback] table_url, {reason}"), hint))
        });
        let table = match (is_on, url) {
            (false, _) => TablePlace::Off,
            (true, Some(url)) => TablePlace::Database(url),
            (true, None) => self.file_beside(place, database).map_or(TablePlace::None, TablePlace::File),
        };
        FallbackConfig { table, table_timeout, serve: self.serve() }
    }

    fn serve(&mut self) -> ServeConfig {
        let unset = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let admin = self.understood(&keys::ADMIN_LISTEN, |text, _| match text.trim() {
            "none" => Ok(None),
            text => socket(&keys::ADMIN_LISTEN, text).map(Some),
        });
        ServeConfig {
            listen: self.understood(&keys::LISTEN, |text, _| socket(&keys::LISTEN, text)).unwrap_or(unset),
            admin_listen: admin.flatten(),
            trusted_proxies: self.each(&keys::TRUSTED_PROXIES, network),
            cors_origins: self.each(&keys::CORS_ORIGINS, origin),
            memory_bytes: self.understood(&keys::MEMORY, |text, _| memory(text)).unwrap_or_default(),
            connections: self.number(&keys::CONNECTIONS),
            linger: self.maybe_duration(&keys::LINGER),
            follow: self.duration(&keys::FOLLOW),
            reread: self.duration(&keys::REREAD),
            health_prefix: self.understood(&keys::HEALTH_PREFIX, |text, _| prefix(text)),
        }
    }

    /// The elements of a list, each as `understand` takes it; none where the list isn't written.
    fn each<T>(
        &mut self,
        key: &'static keys::Key,
        understand: impl Fn(&str) -> Result<T, (String, String)>,
    ) -> Option<Vec<T>> {
        let mut found = Vec::new();
        for Value { text, origin } in self.values.list(key) {
            match understand(text.trim()) {
                Ok(one) => found.push(one),
                Err((reason, hint)) => self.refuse(origin, (format!("in {}, {reason}", key.label()), hint)),
            }
        }
        self.values.has_list(key).then_some(found)
    }

    /// The file that needs no setting: where the data is in a file, and the site in a folder of the same machine.
    fn file_beside(&self, place: &StorePlace, database: Option<&Secret>) -> Option<PathBuf> {
        let StorePlace::Directory { control, .. } = place else { return None };
        let database = Database::from_url(database?.expose(), self.folder).ok()?;
        matches!(database, Database::Sqlite(_)).then(|| control.join(FILE_NAME))
    }
}

fn socket(key: &keys::Key, text: &str) -> Result<SocketAddr, (String, String)> {
    text.trim().parse().map_err(|_| {
        let hint = format!("write an address and a port, for example {}; [::]:8480 is every address", key.example());
        (format!("{} = \"{text}\" isn't an address and a port", key.label()), hint)
    })
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, (String, String)> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    let hint = || format!("write addresses or networks: {}", keys::TRUSTED_PROXIES.example());
    match text.parse::<IpNet>().or_else(|_| alone()) {
        Ok(network) if network.prefix_len() == 0 => {
            Err((format!("`{text}` is everybody, who could then say that somebody else asks"), hint()))
        }
        Ok(network) => Ok(network),
        Err(_) => Err((format!("`{text}` is neither an address nor a network"), hint())),
    }
}

/// An origin as browsers write it: scheme, host and port, and nothing behind them.
fn origin(text: &str) -> Result<String, (String, String)> {
    match Url::parse(text) {
        Ok(url) if url.origin().ascii_serialization() == text => Ok(text.to_owned()),
        Ok(url) if url.origin().is_tuple() => {
            Err((format!("`{text}` isn't an origin"), format!("write \"{}\"", url.origin().ascii_serialization())))
        }
        _ => Err((format!("`{text}` isn't an origin"), format!("write for example {}", keys::CORS_ORIGINS.example()))),
    }
}

fn memory(text: &str) -> Result<u64, (String, String)> {
    let refused = |reason: &str| {
        let hint = format!("it is 1 MiB to 64 GiB: {}", keys::MEMORY.example());
        Err((format!("[fallback] memory = \"{text}\" {reason}"), hint))
    };
    match text.parse::<ByteSize>() {
        Ok(size) if (1 << 20..=64 << 30).contains(&size.as_u64()) => Ok(size.as_u64()),
        Ok(_) => refused("is out of range"),
        Err(_) => refused("isn't a size"),
    }
}

fn prefix(text: &str) -> Result<String, (String, String)> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte));
    match text.starts_with('/') && !text.ends_with('/') && is_plain {
        true => Ok(text.to_owned()),
        false => Err((
            format!("[fallback] health_prefix = \"{text}\" isn't the beginning of a path"),
            format!("write for example {}", keys::HEALTH_PREFIX.example()),
        )),
    }
}
