//! Which CDN it is: what one set of edges was told says nothing of another's.

use super::purge::{Cdn, Driver, Service};
use crate::snapshot::Digest;

impl Cdn {
    /// A name for its edges that stays the same as long as they are the same: a digest, because the address of a webhook
    /// may hold a token. Empty if there is nobody to tell.
    pub fn identity(&self) -> String {
        match self {
            Cdn::None => String::new(),
            Cdn::Service(service) => service.identity(),
            #[cfg(test)]
            Cdn::Edge(_) => "edge".to_owned(),
        }
    }
}

impl Service {
    fn identity(&self) -> String {
        let (driver, id) = match &self.driver {
            Driver::CloudFront(cloudfront) => ("cloudfront", cloudfront.distribution.as_str()),
            Driver::Cloudflare(cloudflare) => ("cloudflare", cloudflare.zone.as_str()),
            Driver::Fastly(fastly) => ("fastly", fastly.service.as_str()),
            Driver::Webhook(webhook) => ("webhook", webhook.url.expose()),
        };
        Digest::of(format!("{driver}\n{id}\n{}", self.site).as_bytes()).to_string()[..16].to_owned()
    }
}
