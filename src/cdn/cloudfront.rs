//! Amazon CloudFront: `CreateInvalidation`, one signed request, which isn't worth a second SDK.
//!
//! An invalidation path is the path of the URL, so that every host name of the distribution and every variant of a header
//! goes with it; a `*` at its end stands for everything that begins like this, and `#tag` for everything tagged so, if the
//! distribution has been told the header `x-amz-meta-cache-tag` (`CacheTagConfig`).
//! <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html>
//!
//! - "up to 3,000 files per distribution in progress at one time", and "if you're using the * wildcard, you can have
//!   requests for up to 15 invalidation paths in progress". More is answered by 400 `TooManyInvalidationsInProgress`, and
//!   that is waited out: most are complete in half a minute.
//!   <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/InvalidationLimits.html>
//! - "The first 1,000 invalidation paths that you submit per month are free", for the whole account; a wildcard and a tag
//!   count as one path each. <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/PayingForInvalidation.html>

use std::time::SystemTime;

use aws_credential_types as aws;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use tokio::time::Instant;
use url::Url;

use super::persist::{Patience, Refusal, Verdict, judge, persist, unpromised};
use super::plan::{Limits, Request};
use crate::http;

mod credentials;

pub use credentials::Credentials;

/// So many paths a purge, that a purge a day stays within the free ones of a month.
const MAX_PATHS: usize = 30;
/// Of the 3,000 in progress; so many, that a few requests can go on side by side.
const PATHS_PER_REQUEST: usize = 1_000;
/// In progress, and so in one purge.
const MAX_WILDCARDS: usize = 15;
/// Codes of a request that may be sent again. Throttling is answered by 400, too.
const BUSY: [&str; 5] = [
    "TooManyInvalidationsInProgress",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "PriorRequestNotComplete",
];
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/xml");

/// A distribution.
#[derive(Debug)]
pub struct CloudFront {
    /// Its id.
    pub distribution: String,
    /// The profile whose credentials are used; by default the same chain as for a bucket.
    pub profile: Option<String>,
    /// True if its edges know documents by their tags.
    pub tags: bool,
    /// The address of the API.
    pub api: Url,
    /// Found when they are first needed.
    pub credentials: Credentials,
}

impl CloudFront {
    /// What it takes.
    pub fn limits(&self) -> Limits {
        Limits {
            items: MAX_PATHS,
            paths_per_request: PATHS_PER_REQUEST,
            bulk_per_request: PATHS_PER_REQUEST,
            folders: Some(MAX_WILDCARDS),
            most_tags: usize::MAX,
            tags: self.tags,
            everything: true,
        }
    }

    /// Sends an invalidation under this name, which CloudFront knows it by if it has to be sent again.
    pub async fn send(&self, site: &Url, request: &Request, name: &str, patience: Patience) -> Result<(), Refusal> {
        let mut url = self.api.clone();
        let prefix = self.api.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}/2020-05-31/distribution/{}/invalidation", self.distribution));
        let body = batch(&items(site, request), name);
        persist(patience, async |timeout| {
            let began = Instant::now();
            let credentials = match self.credentials.get(self.profile.as_deref(), &self.region(), timeout).await {
                Ok(credentials) => credentials,
                Err(verdict) => return verdict,
            };
            let signed = match self.signed(&url, &body, credentials) {
                Ok(signed) => signed,
                Err(refusal) => return Verdict::Never(refusal),
            };
            let mut headers: Vec<(&str, &str)> = vec![CONTENT_TYPE];
            headers.extend(signed.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let left = timeout.saturating_sub(began.elapsed());
            verdict(&http::send("POST", &url, &headers, body.clone().into_bytes(), left).await)
        })
        .await
    }

    /// The headers that sign a request; they hold for a few minutes only, so that each attempt has its own.
    fn signed(&self, url: &Url, body: &str, credentials: aws::Credentials) -> Result<Vec<(String, String)>, Refusal> {
        let unsigned = |error: &dyn std::error::Error| Refusal::new(format!("the request can't be signed: {error}"));
        let identity = credentials.into();
        let region = self.region();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name("cloudfront")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let bytes = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", url.as_str(), std::iter::once(CONTENT_TYPE), bytes)
            .map_err(|error| unsigned(&error))?;
        let (instructions, _) = sign(request, &params).map_err(|error| unsigned(&error))?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The region that requests are signed for: `cloudfront.REGION.…` names it, and the API of the world is in us-east-1.
    fn region(&self) -> String {
        let host = self.api.host_str().unwrap_or_default();
        let named = host.strip_prefix("cloudfront.").and_then(|rest| rest.split_once(".amazonaws."));
        named.map_or("us-east-1", |(region, _)| region).to_owned()
    }
}

/// The invalidation paths of a request.
fn items(site: &Url, request: &Request) -> Vec<String> {
    let base = site.path();
    match request {
        Request::Paths(paths) => paths.iter().map(|path| format!("{base}{path}")).collect(),
        Request::Folders(folders) => folders.iter().map(|folder| format!("{base}{folder}*")).collect(),
        Request::Tags(tags) => tags.iter().map(|tag| format!("#{tag}")).collect(),
        Request::Everything => vec![format!("{base}*")],
    }
}

fn batch(items: &[String], name: &str) -> String {
    let paths: String = items.iter().map(|item| format!("<Path>{}</Path>", escaped(item))).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">\
         <Paths><Quantity>{}</Quantity><Items>{paths}</Items></Paths>\
         <CallerReference>{name}</CallerReference></InvalidationBatch>",
        items.len()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn verdict(answer: &Result<http::Answer, String>) -> Verdict {
    let denied = "the credentials need the permission cloudfront:CreateInvalidation for the distribution";
    let judged = judge("CloudFront", answer, denied);
    let Ok(answer) = answer else { return judged };
    let text = String::from_utf8_lossy(&answer.bytes);
    let refusal = match &judged {
        Verdict::Done if text.contains("<Invalidation") => return judged,
        Verdict::Done => return Verdict::Never(unpromised("CloudFront", answer, "[cdn.cloudfront] api_url")),
        Verdict::Later(..) => return judged,
        Verdict::Never(refusal) => refusal,
    };
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let Some(code) = element("Code") else { return judged };
    let message = element("Message").unwrap_or_default();
    let hint = match code.as_str() {
        "NoSuchDistribution" => Some("[cdn.cloudfront] distribution is the id that begins with E".to_owned()),
        _ => refusal.hint.clone(),
    };
    let refusal = Refusal { reason: format!("CloudFront answered {} {code}: {message}", answer.status), hint };
    match BUSY.contains(&code.as_str()) {
        true => Verdict::Later(refusal, None),
        false => Verdict::Never(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_paths_of_the_url() {
        let site = Url::parse("https://cdn.example.org/m%C3%A4ps/").unwrap();
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(items(&site, &Request::Paths(vec!["a/b.json".into()])), ["/m%C3%A4ps/a/b.json"]);
        assert_eq!(items(&site, &Request::Folders(strings(&["a/"]))), ["/m%C3%A4ps/a/*"]);
        assert_eq!(items(&site, &Request::Tags(strings(&["topic:x"]))), ["#topic:x"]);
        assert_eq!(items(&site, &Request::Everything), ["/m%C3%A4ps/*"]);
        assert!(batch(&strings(&["/a&b"]), "n").contains("<Quantity>1</Quantity><Items><Path>/a&amp;b</Path></Items>"));
    }

    #[test]
    fn regions_with_an_api_of_their_own() {
        let region = |api: &str| {
            let (distribution, api) = ("E1".to_owned(), Url::parse(api).unwrap());
            CloudFront { distribution, profile: None, tags: false, api, credentials: Credentials::default() }.region()
        };
        assert_eq!(region("https://cloudfront.amazonaws.com"), "us-east-1");
        assert_eq!(region("http://127.0.0.1:8080"), "us-east-1");
        assert_eq!(region("https://cloudfront.cn-northwest-1.amazonaws.com.cn"), "cn-northwest-1");
    }
}
