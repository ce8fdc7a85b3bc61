//! Builds the AWS client from options or from what the caller has.

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, Region, StalledStreamProtectionConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use secrecy::ExposeSecret;

use super::http::http_client;
use super::redact::{UntracedCredentials, untraced};
use crate::Options;
use chat_memory_core::error::Error;

/// The connection timeout; at most half a request's time. So it fires before the request's own timeout does, and a request that was
/// never sent is recognised as such.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Creates a client from the options and AWS's default chain.
pub(super) async fn of_options(options: &Options) -> Result<Client, Error> {
    options.check()?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
    // Set first, so that the chain is not searched (nor the instance's metadata service waited for) in vain.
    if let Some(region) = options.known_region() {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(credentials) = credentials_of(options) {
        loader = loader.credentials_provider(credentials);
    }
    let shared = untraced(loader.load()).await;
    let mut builder = config::Builder::from(&shared);
    if let Some(provider) = shared.credentials_provider() {
        builder = builder.credentials_provider(UntracedCredentials(provider));
    }
    if let Some(profile) = &options.profile {
        // A profile requested by name must be used. The chain would prefer the environment's credentials, and would let a name that
        // is not in the files fall through to the instance's role.
        let provider = ProviderConfig::default().with_region(shared.region().cloned()).with_http_client(http_client());
        let provider = ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(profile).build();
        builder = builder.credentials_provider(UntracedCredentials(SharedCredentialsProvider::new(provider)));
    }
    finish(builder, shared.http_client().is_none(), options)
}

/// Creates a client from a configuration that the caller loaded. The options take precedence.
pub(super) fn of_config(shared: &SdkConfig, options: &Options) -> Result<Client, Error> {
    options.check()?;
    refuse_profile(options)?;
    finish(config::Builder::from(shared), shared.http_client().is_none(), options)
}

/// Creates a client like the caller's, with the retries and timeouts that the protocol needs. The options take precedence.
pub(super) fn of_client(client: &Client, options: &Options) -> Result<Client, Error> {
    options.check()?;
    refuse_profile(options)?;
    finish(client.config().to_builder(), client.config().http_client().is_none(), options)
}

fn refuse_profile(options: &Options) -> Result<(), Error> {
    match &options.profile {
        Some(profile) => Err(Error::invalid(format!(
            "cannot use the profile {profile:?} with an existing AWS client; give it where the client is created"
        ))),
        None => Ok(()),
    }
}

fn finish(mut builder: config::Builder, lacks_http_client: bool, options: &Options) -> Result<Client, Error> {
    if lacks_http_client {
        builder = builder.http_client(http_client());
    }
    if let Some(region) = options.known_region() {
        builder = builder.region(Region::new(region.to_owned()));
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    if let Some(credentials) = credentials_of(options) {
        builder = builder.credentials_provider(credentials);
    }
    // The protocol does its own retries, since it alone knows what a repeat means, and each request is timed where it is made, by
    // its size. Only the connection has a timeout here (CONNECT_TIMEOUT).
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(options.request_timeout / 2))
        .disable_read_timeout()
        .disable_operation_attempt_timeout()
        .disable_operation_timeout();
    // AWS refuses requests signed by a wrong clock; so does the proxy of the tests that control the clocks.
    #[cfg(all(feature = "torture", unix))]
    let builder = builder.time_source(LedTime);
    let config = builder
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The SDK would correct a wrong clock by the server's, even one that is days off. AWS's refusal of such a request is what
        // keeps records from being written, hidden and purged at wrong times.
        .disable_clock_skew_correction(true)
        .build();
    // An empty environment variable is one that is not set.
    if config.region().is_none_or(|region| region.as_ref().is_empty()) {
        let profile = options.profile.as_ref().map_or_else(String::new, |name| format!(" (the profile {name:?} names none)"));
        return Err(Error::invalid(format!(
            "no AWS region is known for the table {:?}{profile}; give one in the store URL (?region=eu-west-1), in the \
             environment (AWS_REGION) or in the profile",
            options.table
        )));
    }
    Ok(Client::from_conf(config))
}

fn credentials_of(options: &Options) -> Option<config::Credentials> {
    options.credentials.as_ref().map(|given| {
        let secret = given.secret_access_key.expose_secret();
        let token = given.session_token.as_ref().map(|token| token.expose_secret().to_owned());
        config::Credentials::new(&given.access_key_id, secret, token, None, "chat-memory options")
    })
}

#[cfg(all(feature = "torture", unix))]
#[derive(Debug)]
struct LedTime;

#[cfg(all(feature = "torture", unix))]
impl aws_smithy_async::time::TimeSource for LedTime {
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + chat_memory_core::Timestamp::now().since(chat_memory_core::Timestamp::UNIX_EPOCH)
    }
}
