//! In whose name requests to CloudFront are signed.
//!
//! The provider of a machine in the cloud is a service itself: it may hang, it may be away for a moment, and it counts
//! how often it is asked. So it has as long as the request that needs it, what may pass is tried again, and what it says
//! is used until shortly before it expires.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types as aws;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_s3::config::Region;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::error::display::DisplayErrorContext;
use tokio::sync::{Mutex, OnceCell};

use super::super::persist::{Refusal, Verdict};

/// Credentials that expire sooner than this might do so on their way, or by a clock that is ahead.
const SPARE: Duration = Duration::from_mins(1);

/// Credentials, once they have been found.
#[derive(Debug, Default)]
pub struct Credentials {
    provider: OnceCell<SharedCredentialsProvider>,
    kept: Mutex<Option<aws::Credentials>>,
}

impl Credentials {
    /// Finds them, or takes those that hold still. An error says whether it may pass.
    pub async fn get(
        &self,
        profile: Option<&str>,
        region: &str,
        timeout: Duration,
    ) -> Result<aws::Credentials, Verdict> {
        let mut kept = self.kept.lock().await;
        let is_lasting = |credentials: &&aws::Credentials| {
            credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + SPARE)
        };
        if let Some(credentials) = kept.as_ref().filter(is_lasting) {
            return Ok(credentials.clone());
        }
        let asked = async {
            let provider = self.provider.get_or_init(|| provider(profile, region)).await;
            provider.provide_credentials().await
        };
        let found = tokio::time::timeout(timeout, asked).await.map_err(|_| {
            let within = crate::http::in_words(timeout);
            Verdict::Later(refusal(&format!("no answer within {within} from who provides them")), None)
        })?;
        let credentials = found.map_err(|error| {
            let refusal = refusal(&DisplayErrorContext(&error).to_string());
            if may_pass(&error) { Verdict::Later(refusal, None) } else { Verdict::Never(refusal) }
        })?;
        Ok(kept.insert(credentials).clone())
    }
}

fn refusal(reason: &str) -> Refusal {
    Refusal {
        reason: format!("no credentials for CloudFront: {reason}"),
        hint: Some("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or [cdn.cloudfront] profile, say who asks".to_owned()),
    }
}

/// True if whoever provides them was too slow or couldn't be reached; what it has refused it will refuse again.
fn may_pass(error: &CredentialsError) -> bool {
    let mut causes = std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
    matches!(error, CredentialsError::ProviderTimedOut(_)) || causes.any(<dyn Error>::is::<ConnectorError>)
}

async fn provider(profile: Option<&str>, region: &str) -> SharedCredentialsProvider {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let region = Region::new(region.to_owned());
    let providers = ProviderConfig::without_region().with_http_client(http).with_region(Some(region.clone()));
    if let Some(name) = profile {
        let profile = ProfileFileCredentialsProvider::builder().configure(&providers).profile_name(name).build();
        return SharedCredentialsProvider::new(profile);
    }
    // Without its own the chain would look for a region, on the network where nobody has named one.
    SharedCredentialsProvider::new(DefaultCredentialsChain::builder().configure(providers).region(region).build().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        let lost = ConnectorError::io("refused".into());
        assert!(may_pass(&CredentialsError::provider_error(lost)));
        assert!(may_pass(&CredentialsError::provider_timed_out(Duration::from_secs(1))));
        assert!(!may_pass(&CredentialsError::provider_error("no such role")));
        assert!(!may_pass(&CredentialsError::not_loaded("nobody says")));
    }
}
