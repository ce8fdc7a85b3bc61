//! How to open a store: its URL, and its credentials, since a URL never contains any.

use std::sync::Arc;

use chat_memory::checkpoints::{CheckpointOptions, CheckpointStore};
use chat_memory::store::dynamodb::{Credentials, DynamoDbStore};
use chat_memory::store::url::StoreUrl;
use chat_memory::{ChatStore, Error};
use serde::Deserialize;

/// How to open a store.
#[derive(Clone)]
pub struct Setup {
    url: StoreUrl,
    credentials: Option<Credentials>,
}

/// The JSON of a [`Setup`]. No `Debug`: it holds secrets.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    url: String,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
}

impl Setup {
    /// Parses a setup.
    ///
    /// # Errors
    /// Invalid, if the URL is no store URL, its options contradict each other, or the credentials are invalid.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // serde's own error may quote what it read, perhaps a secret.
        let said: Said =
            serde_json::from_str(text).map_err(|_| Error::invalid("invalid store setup: it is not the expected JSON"))?;
        let credentials = match (said.access_key_id, said.secret_access_key) {
            (None, None) => None,
            (id, secret) => {
                let credentials = Credentials::new(id.unwrap_or_default(), secret.unwrap_or_default());
                Some(match said.session_token {
                    Some(token) => credentials.with_session_token(token),
                    None => credentials,
                })
            }
        };
        Self::new(said.url.parse()?, credentials)
    }

    /// Creates a setup from a store URL, and an access key if AWS's usual chain is not to be used.
    ///
    /// # Errors
    /// Invalid, if the URL's options contradict each other, or the credentials are invalid.
    pub fn new(url: StoreUrl, credentials: Option<Credentials>) -> Result<Self, Error> {
        let setup = Self { url, credentials };
        setup.check()?;
        Ok(setup)
    }

    /// Returns the store's URL.
    pub fn url(&self) -> &StoreUrl {
        &self.url
    }

    fn check(&self) -> Result<(), Error> {
        match (&self.credentials, self.url.dynamodb()) {
            (None, _) => Ok(()),
            (Some(credentials), Some(options)) => options.with_credentials(credentials.clone()).check(),
            (Some(_), None) => Err(Error::invalid("only a dynamodb:// store takes credentials; leave them out")),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Errors from opening the store.
    pub async fn open(&self) -> Result<Arc<dyn ChatStore>, Error> {
        match (&self.credentials, self.url.dynamodb()) {
            (Some(credentials), Some(options)) => {
                Ok(Arc::new(DynamoDbStore::open(options.with_credentials(credentials.clone())).await?))
            }
            _ => self.url.open().await,
        }
    }

    /// Opens the checkpoints in the store.
    ///
    /// # Errors
    /// Errors from opening the store.
    pub async fn open_checkpoints(&self, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
        match (&self.credentials, self.url.dynamodb()) {
            (Some(credentials), Some(known)) => {
                Ok(DynamoDbStore::open(known.with_credentials(credentials.clone())).await?.checkpoints(options))
            }
            _ => self.url.open_checkpoints(options).await,
        }
    }
}
