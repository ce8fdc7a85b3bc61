//! Who uses the console, and what they may do there.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_memory::ChatStore as _;
use chat_memory::store::url::StoreUrl;

use super::page::Refused;
use super::session_cookie::Login;
use crate::auth::Access;
use crate::client::is_secure;
use crate::keys::Right;
use crate::problem::Problem;
use crate::service::Service;

/// The purpose of the signatures that form tokens are.
const FORM: &str = "console form";

/// Someone who may read.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    pub(crate) access: Access,
    /// The login; `None` if there are no keys and nobody has to log in.
    pub(crate) login: Option<Login>,
    /// Whether the connection uses TLS.
    pub(crate) secure: bool,
    /// The service's address, as this viewer's browser knows it.
    pub(crate) url: String,
}

impl Viewer {
    /// Whether to show forms that write.
    pub(crate) fn may_write(&self) -> bool {
        self.access.may(Right::Write) && !self.is_read_only_store()
    }

    /// Refuses a viewer who may not write.
    pub(crate) fn must_write(&self) -> Result<(), Problem> {
        self.access.check(Right::Write)?;
        if self.is_read_only_store() {
            return Err(Problem::read_only());
        }
        Ok(())
    }

    pub(crate) fn is_read_only_store(&self) -> bool {
        self.access.service.stores().url().is_some_and(StoreUrl::is_read_only)
    }

    /// Whether there is a list of sessions by owner.
    pub(crate) fn has_directory(&self) -> bool {
        self.access.store.capabilities().directory
    }

    /// Whether the store lists the sessions of all owners in one order.
    pub(crate) fn sorts_all(&self) -> bool {
        self.access.store.capabilities().any_owner
    }

    /// Whether the store can have LangGraph's threads, as far as is known.
    pub(crate) fn has_threads(&self) -> bool {
        matches!(self.kind(), Kind::Memory | Kind::Sqlite | Kind::DynamoDb)
    }

    /// Where sessions are stored.
    pub(crate) fn kind(&self) -> Kind {
        let Some(url) = self.access.service.stores().url() else { return Kind::Other };
        match url.scheme() {
            "memory" => Kind::Memory,
            "sqlite" => Kind::Sqlite,
            "dynamodb" if url.parameter("layout") == Some("list") || !self.has_directory() => Kind::List,
            "dynamodb" => Kind::DynamoDb,
            _ => Kind::Other,
        }
    }

    /// The token in each of this viewer's forms, which no other site can know.
    pub(crate) fn token(&self) -> String {
        BASE64.encode(self.access.sign(FORM, &[self.nonce()]))
    }

    /// Verifies that a form is one of this viewer's.
    pub(crate) fn check_token(&self, token: Option<&str>) -> Result<(), Problem> {
        let token = token.and_then(|token| BASE64.decode(token).ok());
        if token.is_some_and(|token| self.access.verify(FORM, &[self.nonce()], &token)) {
            return Ok(());
        }
        Err(Problem::forbidden(
            "this form belongs to another login, or the service was restarted: open the page again and send it from there",
        ))
    }

    fn nonce(&self) -> &str {
        self.login.as_ref().map_or("", |login| &login.nonce)
    }
}

impl FromRequestParts<Service> for Viewer {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Refused> {
        let login = match service.keys() {
            None => None,
            Some(keys) => Some(Login::of(&parts.headers, keys).ok_or_else(|| no_login(parts))?),
        };
        let access = Access::new(service, login.as_ref().map(|login| login.key.clone())).await?;
        access.check(Right::Read)?;
        let secure = is_secure(&parts.extensions, &parts.headers, service);
        let host = parts.uri.authority().map(|host| host.as_str());
        let host = host.or_else(|| parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or("localhost");
        let url = format!("{}://{host}", if secure { "https" } else { "http" });
        Ok(Self { access, login, secure, url })
    }
}

/// Redirects pages to the login and back; other requests get an error that a login is missing.
fn no_login(parts: &Parts) -> Refused {
    let wants_page = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_page = wants_page.is_none_or(|accept| accept.contains("text/html"));
    if parts.method == Method::GET && wants_page {
        return Refused::login(parts.uri.path_and_query().map_or("/console", |path| path.as_str()));
    }
    let detail = "you are not logged in: log in and send it again";
    Refused::from(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)).back("/console/login", "Log in")
}

/// Where sessions are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In this process.
    Memory,
    /// In a SQLite file.
    Sqlite,
    /// In a store of another crate.
    Other,
    /// In a DynamoDB table, one item per record.
    DynamoDb,
    /// In a DynamoDB table of Flowise's or LangChain's, one item per session.
    List,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "In memory",
            Self::Other => "Another store",
            Self::Sqlite => "SQLite",
            Self::DynamoDb => "DynamoDB",
            Self::List => "DynamoDB, list layout",
        }
    }
}
