//! `memory:`

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Scheme, StoreUrl};
use crate::backend::settings::{invalid, retention};
use crate::checkpoints::{CheckpointOptions, CheckpointStore, InMemoryRows};
use crate::store::{ChatStore, InMemoryStore};
use crate::{Error, Namespace};

#[derive(Debug)]
pub(super) struct Memory;

fn kept(url: &StoreUrl) -> Result<Option<Duration>, Error> {
    let Some(value) = url.parameter("retention") else { return Ok(None) };
    retention(value).map(Some).map_err(|why| invalid("retention", value, why))
}

#[async_trait]
impl Scheme for Memory {
    fn form(&self) -> &'static str {
        "memory:"
    }

    fn parameters(&self) -> Vec<&'static str> {
        vec!["retention"]
    }

    fn check(&self, url: &StoreUrl) -> Result<(), Error> {
        if !url.path().as_os_str().is_empty() {
            return Err(Error::invalid("memory: has no path; for a file write sqlite:PATH"));
        }
        kept(url).map(drop)
    }

    /// Each time that it is opened it is a store of its own.
    fn in_namespace(&self, url: &StoreUrl, _: &Namespace) -> Result<StoreUrl, Error> {
        Ok(url.clone())
    }

    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
        Ok(Arc::new(kept(url)?.map_or_else(InMemoryStore::new, InMemoryStore::with_retention)))
    }

    async fn open_checkpoints(&self, url: &StoreUrl, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
        let retention = options.retention.or(kept(url)?);
        Ok(CheckpointStore::new(InMemoryRows::new(), options.with_retention(retention)))
    }
}
