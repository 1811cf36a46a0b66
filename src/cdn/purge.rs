//! The CDN in front of the store: its edges keep documents for as long as `edge_ttl` says, unless they are told that a
//! path shows something else now.
//!
//! A driver makes documents forgotten, and says so only when the CDN has promised it. It need not know which release is
//! live: `release::purge` asks it for every path that may have changed, again if it has to, and remembers how far it got.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::cloudflare::Cloudflare;
use super::cloudfront::CloudFront;
use super::fastly::Fastly;
use super::pace::{Pace, Stopped};
use super::persist::{Patience, Refusal};
use super::plan::{Limits, Plan, Request};
use super::webhook::Webhook;
#[cfg(test)]
use crate::store::Store;

/// A CDN, by kind.
#[derive(Debug, Clone)]
pub enum Cdn {
    /// Nothing keeps documents, or nobody is to tell it.
    None,
    /// One that is told over HTTP.
    Service(Arc<Service>),
    /// Edges that keep whatever they can, behind the same network as a faulty store.
    #[cfg(test)]
    Edge(Arc<Store>),
}

/// A CDN that is told over HTTP.
#[derive(Debug)]
pub struct Service {
    /// Where readers fetch the documents; its path ends in `/`.
    pub site: Url,
    /// For how long each request is tried.
    pub patience: Patience,
    /// The most paths, folders and tags that one purge names; none for the driver's own default.
    pub max_paths: Option<usize>,
    /// Whom to tell.
    pub driver: Driver,
}

/// Whom to tell, and how.
#[derive(Debug)]
pub enum Driver {
    /// Amazon CloudFront.
    CloudFront(CloudFront),
    /// Cloudflare.
    Cloudflare(Cloudflare),
    /// Fastly.
    Fastly(Fastly),
    /// An address of one's own: a program that knows another CDN, or a cache such as Varnish.
    Webhook(Webhook),
}

/// Why a purge isn't known to have been carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't purge {what}: {reason}")]
pub struct CdnError {
    /// What was to be forgotten.
    pub what: String,
    /// The CDN's own words.
    pub reason: String,
    /// What to do next.
    pub hint: Option<String>,
    /// So many of the plan's requests, from the first on, were carried out all the same.
    pub done: usize,
}

impl Cdn {
    /// True if there is nobody to tell.
    pub fn is_none(&self) -> bool {
        matches!(self, Cdn::None)
    }

    /// What it takes.
    pub fn limits(&self) -> Limits {
        match self {
            Cdn::None => Limits::unbounded(),
            Cdn::Service(service) => service.limits(),
            #[cfg(test)]
            Cdn::Edge(_) => Limits::unbounded(),
        }
    }

    /// Makes every edge forget documents, by the requests of a plan from this one on: those before it were carried out.
    /// It is safe to ask again.
    pub async fn purge(&self, plan: &Plan, from: usize) -> Result<(), CdnError> {
        let from = from.min(plan.requests.len());
        let sent = match self {
            Cdn::None => Ok(()),
            Cdn::Service(service) => service.carry_out(&plan.requests[from..]).await,
            #[cfg(test)]
            Cdn::Edge(store) => on_faulty_edge(store, plan).await,
        };
        sent.map_err(|Stopped { done, refusal: Refusal { reason, hint } }| CdnError {
            what: plan.to_string(),
            reason,
            hint,
            done: from + done,
        })
    }
}

impl CdnError {
    /// With what to do next, after what the CDN's refusal hints at.
    pub fn then(self, next: &str) -> CdnError {
        let hint = self.hint.map_or_else(|| next.to_owned(), |hint| format!("{hint}; then {next}"));
        CdnError { hint: Some(hint), ..self }
    }
}

impl Driver {
    /// How fast it takes requests, with time to spare.
    fn pace(&self) -> Pace {
        match self {
            // One after the other: they are few, and each of them counts against a rate. CloudFront has a third of what
            // may be in progress in one, and takes half a minute for it.
            Driver::CloudFront(_) => Pace { at_a_time: 1, each: Duration::from_secs(30) },
            Driver::Cloudflare(_) => Pace { at_a_time: 1, each: Duration::from_secs(1) },
            Driver::Fastly(_) | Driver::Webhook(_) => Pace { at_a_time: 8, each: Duration::from_secs(1) },
        }
    }
}

impl Service {
    fn limits(&self) -> Limits {
        let mut limits = match &self.driver {
            Driver::CloudFront(cloudfront) => cloudfront.limits(),
            Driver::Cloudflare(cloudflare) => cloudflare.limits(),
            Driver::Fastly(fastly) => fastly.limits(),
            Driver::Webhook(webhook) => webhook.limits(),
        };
        if let Some(most) = self.max_paths {
            limits.items = most;
        }
        limits
    }

    /// Sends everything; the first request that fails ends it.
    async fn carry_out(&self, requests: &[Request]) -> Result<(), Stopped> {
        let nothing = |refusal| Stopped { done: 0, refusal };
        if let Driver::Webhook(webhook) = &self.driver {
            webhook.try_address(&self.site, requests, self.patience).await.map_err(nothing)?;
        }
        // What is sent again can be told from what is new.
        let run = getrandom::u64().map_err(|error| nothing(Refusal::new(format!("no random number: {error}"))))?;
        let sends = requests.iter().enumerate();
        let sends = sends.map(|(number, request)| self.send(request, format!("tintype-{run:016x}-{number}")));
        self.driver.pace().keep(self.patience, sends).await
    }

    async fn send(&self, request: &Request, name: String) -> Result<(), Refusal> {
        let Service { site, patience, driver, .. } = self;
        match driver {
            Driver::CloudFront(cloudfront) => cloudfront.send(site, request, &name, *patience).await,
            Driver::Cloudflare(cloudflare) => cloudflare.send(site, request, *patience).await,
            Driver::Fastly(fastly) => fastly.send(site, request, *patience).await,
            Driver::Webhook(webhook) => webhook.send(site, request, *patience).await,
        }
    }
}

#[cfg(test)]
async fn on_faulty_edge(store: &Store, plan: &Plan) -> Result<(), Stopped> {
    for request in &plan.requests {
        let paths = match request {
            Request::Paths(paths) => Some(paths.clone()),
            _ => None,
        };
        store.faulty().purge(paths).await.map_err(|error| Stopped { done: 0, refusal: Refusal::new(error.reason) })?;
    }
    Ok(())
}

/// What is to be forgotten.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.requests.as_slice(), self.paths) {
            ([Request::Paths(paths)], Some(1)) if paths.len() == 1 => f.write_str(&paths[0]),
            (_, Some(1)) => f.write_str("1 path"),
            (_, Some(paths)) => write!(f, "{paths} paths"),
            (_, None) => f.write_str("everything"),
        }
    }
}
