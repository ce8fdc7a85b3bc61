//! The HTTP client of the AWS SDK, which loads the system's certificates only when it first connects by TLS.

use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

/// Creates the client. Loading the certificates takes twenty million instructions, so a program that talks to DynamoDB Local must not
/// pay for them, and one that fails before its first request must not either.
pub(super) fn http_client() -> SharedHttpClient {
    SharedHttpClient::new(ByScheme(Arc::new(Clients { plain: client(no_certificates()), tls: OnceLock::new() })))
}

fn client(context: Option<tls::TlsContext>) -> SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let builder = aws_smithy_http_client::Builder::new().tls_provider(ring);
    match context {
        Some(context) => builder.tls_context(context).build_https(),
        None => builder.build_https(),
    }
}

/// Trusts no certificate: requests to `http:` endpoints need none, and one to any other would fail.
fn no_certificates() -> Option<tls::TlsContext> {
    tls::TlsContext::builder().with_trust_store(tls::TrustStore::empty()).build().ok()
}

#[derive(Debug)]
struct Clients {
    plain: SharedHttpClient,
    tls: OnceLock<SharedHttpClient>,
}

#[derive(Debug, Clone)]
struct ByScheme(Arc<Clients>);

impl HttpClient for ByScheme {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let clients = Arc::clone(&self.0);
        SharedHttpConnector::new(Connector { clients, settings: settings.clone(), components: components.clone() })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.plain.connector_metadata()
    }
}

#[derive(Debug)]
struct Connector {
    clients: Arc<Clients>,
    settings: HttpConnectorSettings,
    components: RuntimeComponents,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client =
            if request.uri().starts_with("http:") { &self.clients.plain } else { self.clients.tls.get_or_init(|| client(None)) };
        client.http_connector(&self.settings, &self.components).call(request)
    }
}
