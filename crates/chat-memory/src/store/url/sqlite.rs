//! `sqlite:PATH`

use std::sync::Arc;

use async_trait::async_trait;

use super::{Scheme, StoreUrl};
use crate::checkpoints::{CheckpointOptions, CheckpointStore};
use crate::store::ChatStore;
use crate::store::sqlite::{SqliteBuilder, SqliteStore};
use crate::{Error, Namespace};

#[derive(Debug)]
pub(super) struct Sqlite;

pub(super) fn builder(url: &StoreUrl) -> Result<SqliteBuilder, Error> {
    let mut builder = SqliteStore::builder(url.path());
    url.parameters().try_for_each(|(name, value)| builder.set(name, value))?;
    Ok(builder)
}

#[async_trait]
impl Scheme for Sqlite {
    fn form(&self) -> &'static str {
        "sqlite:PATH"
    }

    fn parameters(&self) -> Vec<&'static str> {
        SqliteBuilder::SETTINGS.map(|setting| setting.name).to_vec()
    }

    fn check(&self, url: &StoreUrl) -> Result<(), Error> {
        if url.path().as_os_str().is_empty() {
            return Err(Error::invalid("missing path in the store URL: expected sqlite:PATH"));
        }
        if url.path().as_os_str() == ":memory:" {
            return Err(Error::invalid("invalid path \":memory:\": a store in memory is memory:, without sqlite"));
        }
        builder(url).map(drop)
    }

    /// A file next to the first: `chats.NAMESPACE.db` next to `chats.db`.
    fn in_namespace(&self, url: &StoreUrl, namespace: &Namespace) -> Result<StoreUrl, Error> {
        let path = url.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem =
            stem.ok_or_else(|| Error::invalid(format!("cannot add a namespace to {}: it has no file name", path.display())))?;
        let extension = path.extension().and_then(|extension| extension.to_str()).map(|extension| format!(".{extension}"));
        let name = format!("{stem}.{namespace}{}", extension.unwrap_or_default());
        url.clone().with_place(path.with_file_name(name))
    }

    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
        Ok(Arc::new(builder(url)?.open().await?))
    }

    async fn open_checkpoints(&self, url: &StoreUrl, options: CheckpointOptions) -> Result<CheckpointStore, Error> {
        Ok(builder(url)?.open().await?.checkpoints(options))
    }
}
