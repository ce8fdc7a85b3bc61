//! Authentication, and what a request may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chat_memory::checkpoints::CheckpointStore;
use chat_memory::{ChatStore, Error, Namespace, SessionId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::keys::{Key, Right};
use crate::metrics::Operation;
use crate::problem::{Problem, Reader};
use crate::service::{Options, Service};

/// An authenticated request: its namespace's store, and what it may do there.
#[derive(Debug, Clone)]
pub struct Access {
    /// The service.
    pub(crate) service: Service,
    /// Its key; `None` if there are no keys.
    pub key: Option<Arc<Key>>,
    /// Its namespace.
    pub namespace: Option<Namespace>,
    /// The store of its namespace.
    pub store: Arc<dyn ChatStore>,
}

impl Access {
    /// The access that a key grants, or everyone has without keys.
    pub(crate) async fn new(service: &Service, key: Option<Arc<Key>>) -> Result<Self, Problem> {
        let namespace = key.as_ref().and_then(|key| key.namespace());
        let reader = if key.is_some() { Reader::Client } else { Reader::Operator };
        let store = service.stores().of(namespace.as_ref()).await.map_err(|error| {
            tracing::error!(%error, "opening the store failed");
            Problem::unopened(&error, reader)
        })?;
        Ok(Self { service: service.clone(), key, namespace, store })
    }

    /// LangGraph's checkpoints in the store of its namespace.
    pub(crate) async fn checkpoints(&self) -> Result<CheckpointStore, Problem> {
        self.service.stores().checkpoints(self.namespace.as_ref()).await.map_err(|e| self.problem(&e))
    }

    /// Whether it has this right.
    pub fn may(&self, right: Right) -> bool {
        self.key.as_ref().is_none_or(|key| key.allows(right))
    }

    pub(crate) fn check(&self, right: Right) -> Result<(), Problem> {
        if self.may(right) {
            return Ok(());
        }
        Err(lacks(right))
    }

    /// Converts a store's error for the client. Details that the client must not see are logged.
    pub(crate) fn problem(&self, error: &Error) -> Problem {
        self.problem_of(error, Operation::Load)
    }

    /// The same for a given operation.
    pub(crate) fn problem_of(&self, error: &Error, operation: Operation) -> Problem {
        let reader = if self.key.is_some() { Reader::Client } else { Reader::Operator };
        let problem = Problem::of(error, reader, operation);
        if problem.status().is_server_error() {
            tracing::error!(%error, "the store failed");
        }
        problem
    }

    /// Notifies those who watch a session that it was written to.
    pub(crate) fn tell(&self, session: &SessionId) {
        self.service.watch().tell(self.namespace.as_ref(), session);
    }

    /// Signs these texts; only a service with this key can.
    pub(crate) fn sign(&self, what: &str, texts: &[&str]) -> Vec<u8> {
        sign(&self.secret(), what, texts)
    }

    /// Signs a page cursor. The signature stays the same as long as the key or, without keys, the store does.
    pub(crate) fn sign_cursor(&self, place: &str, cursor: &str) -> Vec<u8> {
        let secret = self.key.as_ref().map_or_else(|| self.service.cursor_secret(), |key| key.derived_secret());
        sign(&secret, "cursor", &[place, cursor])
    }

    /// Verifies the signature of these texts in constant time.
    pub(crate) fn verify(&self, what: &str, texts: &[&str], signature: &[u8]) -> bool {
        verify(&self.secret(), what, texts, signature)
    }

    fn secret(&self) -> [u8; 32] {
        self.key.as_ref().map_or_else(|| *self.service.secret(), |key| key.derived_secret())
    }
}

fn mac(secret: &[u8; 32], what: &str, texts: &[&str]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    // A length prefix keeps adjacent texts apart.
    for text in std::iter::once(&what).chain(texts) {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text.as_bytes());
    }
    Some(mac)
}

pub(crate) fn sign(secret: &[u8; 32], what: &str, texts: &[&str]) -> Vec<u8> {
    mac(secret, what, texts).map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
}

pub(crate) fn verify(secret: &[u8; 32], what: &str, texts: &[&str], signature: &[u8]) -> bool {
    mac(secret, what, texts).is_some_and(|mac| mac.verify_slice(signature).is_ok())
}

/// A request that may read.
#[derive(Debug)]
pub struct MayRead(pub Access);

/// A request that may write.
#[derive(Debug)]
pub struct MayWrite(pub Access);

/// A request that may read or write: with a dry run it only reads, which its body says.
#[derive(Debug)]
pub struct MayReadOrWrite(pub Access);

/// A request that may see the metrics.
#[derive(Debug)]
pub struct MayMeasure;

impl FromRequestParts<Service> for MayRead {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        by_header(parts, service, Right::Read).await.map(Self)
    }
}

impl FromRequestParts<Service> for MayWrite {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        by_header(parts, service, Right::Write).await.map(Self)
    }
}

impl FromRequestParts<Service> for MayReadOrWrite {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        match by_header(parts, service, Right::Read).await {
            Err(problem) if problem.status() == StatusCode::FORBIDDEN => by_header(parts, service, Right::Write).await,
            access => access,
        }
        .map(Self)
    }
}

impl FromRequestParts<Service> for MayMeasure {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let key = key_of(&parts.headers, service)?;
        let allowed = key.as_ref().is_none_or(|key| key.allows(Right::Metrics));
        if allowed { Ok(Self) } else { Err(lacks(Right::Metrics)) }
    }
}

/// A key without this right. Only the operator knows the file of keys.
pub(crate) fn lacks(right: Right) -> Problem {
    let rights = match right {
        Right::Metrics => "--right read --right metrics",
        Right::Read | Right::Write => "--right read --right write",
    };
    let made = format!("whoever runs the service creates one with `chat-memory key new --keys FILE --name NAME {rights}`");
    Problem::forbidden(format!("this key lacks the right \"{right}\": send one that has it; {made}"))
        .in_console(format!("your key lacks the right \"{right}\": log in with one that has it; {made}"))
}

async fn by_header(parts: &Parts, service: &Service, right: Right) -> Result<Access, Problem> {
    let access = Access::new(service, key_of(&parts.headers, service)?).await?;
    access.check(right)?;
    Ok(access)
}

/// The key of a request; `None` if the service has no keys.
fn key_of(headers: &HeaderMap, service: &Service) -> Result<Option<Arc<Key>>, Problem> {
    let Some(keys) = service.keys() else { return Ok(None) };
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::unauthorized("this service needs an API key: send it as `Authorization: Bearer KEY`"));
    };
    let key =
        header.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, key)) = key else {
        return Err(Problem::unauthorized("invalid Authorization header: expected `Bearer`, a space and an API key"));
    };
    match keys.find(key.trim()) {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::unauthorized("unknown API key: it may have been revoked; check it, or create another one")),
    }
}

/// Without keys, another site's page must not act through its visitor's browser: neither by its own requests, nor by a host name of
/// its own that resolves to this service (DNS rebinding). Returns `None` for other requests.
pub(crate) fn foreign<B>(request: &Request<B>, options: &Options) -> Option<Problem> {
    let headers = request.headers();
    let from_another_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let invited = || headers.get(header::ORIGIN).is_some_and(|origin| options.cors_origins.iter().any(|known| known == origin));
    if from_another_site && !matches!(*request.method(), Method::GET | Method::HEAD) && !invited() {
        return Some(Problem::forbidden("cross-site request refused: pages of other sites must not write here"));
    }
    // HTTP/2 has the host in the request's target; HTTP/1.1 may have one there too.
    let target = request.uri().authority().cloned();
    let host = headers.get(header::HOST).map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    if target.map(Some).into_iter().chain(host).all(|name| name.is_some_and(|name| is_own(name.host(), &options.hosts))) {
        return None;
    }
    Some(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "misdirected",
        "unknown host name: without API keys this service answers only on loopback names, such as localhost",
    ))
}

/// Whether this is a name of this machine's loopback, or one of the configured hosts.
fn is_own(name: &str, hosts: &[String]) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}
