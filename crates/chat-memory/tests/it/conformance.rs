//! Runs the conformance suite on the stores that need no service. (The DynamoDB store has a test file of its own.)
#![cfg(feature = "conformance")]

mod in_memory {
    use chat_memory::conformance::Suite;
    use chat_memory::store::{Capabilities, InMemoryStore};

    fn suite() -> Suite {
        let data = InMemoryStore::new();
        Suite::new(move || std::future::ready(Ok(data.clone())))
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all().with_durable(false),
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use chat_memory::conformance::Suite;
    use chat_memory::store::Capabilities;
    use chat_memory::store::sqlite::SqliteStore;

    /// Each handle has its own connections, as another process would. The directory is deleted with the suite.
    fn suite() -> Suite {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Suite::new(move || SqliteStore::open(folder.path().join("chat.db")))
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all(),
    }
}

/// In a file with a search index.
#[cfg(feature = "sqlite")]
mod sqlite_indexed {
    use chat_memory::conformance::Suite;
    use chat_memory::store::Capabilities;
    use chat_memory::store::sqlite::SqliteStore;

    fn suite() -> Suite {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Suite::new(move || {
            let path = folder.path().join("chat.db");
            async move {
                let store = SqliteStore::open(path).await?;
                store.build_search_index(&mut |_, _| ()).await?;
                Ok(store)
            }
        })
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all(),
    }
}
