//! The connection to the store: credentials, region, addressing, TLS and time-outs.
//!
//! Off AWS (with an endpoint) buckets stand in the path, checksums are sent only where S3 requires them, because many
//! stores refuse the others, and nobody asks for a machine's metadata service, which isn't there and costs seconds.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

use super::Settings;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The region that a request to another store than AWS is signed for where nothing names one.
const DEFAULT_REGION: &str = "us-east-1";

/// Makes the client. Nothing is sent to the store yet.
pub async fn connect(settings: &Settings, given: Option<&Credentials>) -> Client {
    // The certificates of SSL_CERT_FILE and SSL_CERT_DIR, or else the system's, are those that are trusted.
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let providers = ProviderConfig::without_region().with_http_client(http.clone());
    let region = region(settings, &providers).await;
    let providers = providers.with_region(Some(region.clone()));
    let credentials = match given {
        Some(given) => SharedCredentialsProvider::new(given.clone()),
        None => credentials(settings, &providers).await,
    };
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .credentials_provider(credentials)
        .region(region)
        // Retries and time-outs are our own: see `retry`.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // A clock that is off is told, not worked around: it also dates the releases.
        .disable_clock_skew_correction(true);
    if let Some(endpoint) = &settings.endpoint {
        config = config
            .endpoint_url(endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Client::from_conf(config.build())
}

async fn region(settings: &Settings, providers: &ProviderConfig) -> Region {
    if let Some(region) = &settings.region {
        return Region::new(region.clone());
    }
    let profile = ProfileFileRegionProvider::builder().configure(providers).build();
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile);
    let chain = match settings.endpoint {
        Some(_) => chain,
        None => chain.or_else(ImdsRegionProvider::builder().configure(providers).build()),
    };
    let found = chain.region().await;
    // A bucket elsewhere answers with its region, which the error then names.
    found.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
}

async fn credentials(settings: &Settings, providers: &ProviderConfig) -> SharedCredentialsProvider {
    if settings.endpoint.is_none() {
        let chain = DefaultCredentialsChain::builder().configure(providers.clone());
        return SharedCredentialsProvider::new(chain.build().await);
    }
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Profile", ProfileFileCredentialsProvider::builder().configure(providers).build())
        .or_else("WebIdentityToken", WebIdentityTokenCredentialsProvider::builder().configure(providers).build())
        .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(providers).build());
    SharedCredentialsProvider::new(chain)
}
