//! `dynamodb://TABLE`

use std::sync::Arc;

use async_trait::async_trait;

use super::{Scheme, StoreUrl, credentials};
use crate::Error;
use crate::checkpoints::{CheckpointOptions, CheckpointStore};
use crate::store::ChatStore;
use crate::store::dynamodb::{DynamoDbStore, Options};

#[derive(Debug)]
pub(super) struct DynamoDb;

pub(super) fn options(url: &StoreUrl) -> Result<Options, Error> {
    let mut options = Options::new(url.place()?);
    url.parameters().try_for_each(|(name, value)| options.set(name, value))?;
    Ok(options)
}

#[async_trait]
impl Scheme for DynamoDb {
    fn form(&self) -> &'static str {
        "dynamodb://TABLE"
    }

    fn parameters(&self) -> Vec<&'static str> {
        Options::SETTINGS.map(|setting| setting.name).to_vec()
    }

    fn check(&self, url: &StoreUrl) -> Result<(), Error> {
        if url.place()?.contains('@') {
            return Err(credentials("what stands before the @"));
        }
        options(url)?.check()
    }

    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
        Ok(Arc::new(DynamoDbStore::open(options(url)?).await?))
    }

    async fn open_checkpoints(&self, url: &StoreUrl, kept: CheckpointOptions) -> Result<CheckpointStore, Error> {
        Ok(DynamoDbStore::open(options(url)?).await?.checkpoints(kept))
    }
}
