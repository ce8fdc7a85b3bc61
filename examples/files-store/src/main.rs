//! The program `chat-memory` with one more store: `--store files:FOLDER`.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use chat_memory::store::url::{Scheme, StoreUrl, register};
use chat_memory::{ChatStore, Error};
use chat_memory_files::FilesStore;

#[derive(Debug)]
struct Files;

#[async_trait]
impl Scheme for Files {
    fn form(&self) -> &'static str {
        "files:FOLDER"
    }

    fn check(&self, url: &StoreUrl) -> Result<(), Error> {
        let is_named = !url.path().as_os_str().is_empty();
        if is_named { Ok(()) } else { Err(Error::invalid("a files URL names a folder: files:FOLDER")) }
    }

    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
        Ok(Arc::new(FilesStore::open(url.path()).await?))
    }
}

fn main() -> ExitCode {
    if let Err(error) = register(Files) {
        eprintln!("chat-memory-files: {error}");
        return ExitCode::FAILURE;
    }
    chat_memory_cli::run()
}
