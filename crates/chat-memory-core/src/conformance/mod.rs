//! The conformance suite: tests that a store keeps the promises of the [contract](crate::store). It is for anyone who writes a
//! store.
//!
//! A store passes if every case passes. A case for a capability that the store does not [declare](crate::store::Capabilities) is
//! reported as such, never silently skipped. Each case uses its own sessions, so the suite may run on a table in use, and several
//! times at once.
//!
//! In a test file, [`conformance_tests!`](crate::conformance_tests) generates one test per case (it needs `tokio` with the
//! features `macros` and `rt-multi-thread` among the dev-dependencies). Elsewhere, [`Suite::run_all`] returns a [`Report`]:
//!
//! ```
//! use chat_memory::conformance::Suite;
//! use chat_memory::store::InMemoryStore;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! let data = InMemoryStore::new();
//! // Each call opens another handle on the same data: what another process would hold.
//! let suite = Suite::new(move || {
//!     let handle = data.clone();
//!     async move { Ok(handle) }
//! });
//! let report = suite.run_all().await;
//! assert!(report.is_ok(), "{report}");
//! # });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

pub use self::failure::Failure;
pub use self::report::{Outcome, Report};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::{Capabilities, ChatStore};

#[macro_use]
mod failure;
mod cases;
mod macros;
mod report;
mod sample;

/// Any store.
type Handle = Arc<dyn ChatStore>;

type Opening = Pin<Box<dyn Future<Output = Result<Handle, Error>> + Send>>;

type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Something that a store may lack; it then declares that in its [`Capabilities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// [`Capabilities::durable`]
    Durable,
    /// [`Capabilities::rewind`]
    Rewind,
    /// [`Capabilities::directory`]
    Directory,
    /// [`Capabilities::last_activity`]
    LastActivity,
    /// [`Capabilities::any_owner`]
    AnyOwner,
    /// [`Capabilities::bounded_cost`]
    BoundedCost,
    /// [`Capabilities::entries`]
    Entries,
    /// [`Capabilities::fork`]
    Fork,
    /// [`Capabilities::redact`]
    Redact,
}

impl Capability {
    fn is_declared(self, declared: &Capabilities) -> bool {
        match self {
            Self::Durable => declared.durable,
            Self::Rewind => declared.rewind,
            Self::Directory => declared.directory,
            Self::LastActivity => declared.last_activity.is_some(),
            Self::AnyOwner => declared.any_owner,
            Self::BoundedCost => declared.bounded_cost,
            Self::Entries => declared.entries,
            Self::Fork => declared.fork,
            Self::Redact => declared.redact,
        }
    }
}

/// One case of the suite.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// Its name, unique in the suite.
    pub name: &'static str,
    /// The promise that it tests.
    pub promise: &'static str,
    /// What a store must declare for the promise to hold.
    pub needs: Option<Capability>,
    run: fn(TestContext) -> Running,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// The suite, for one store.
#[derive(Clone)]
pub struct Suite {
    open: Arc<dyn Fn() -> Opening + Send + Sync>,
}

impl Suite {
    /// Creates the suite for the store that `open` opens. Each call must return another handle on the same data, as independent
    /// as the store allows (its own connection or client): to the store, the handles are different machines.
    pub fn new<S, F>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: ChatStore,
        F: Future<Output = Result<S, Error>> + Send + 'static,
    {
        Self {
            open: Arc::new(move || {
                let opening = open();
                Box::pin(async move { Ok(Arc::new(opening.await?) as Handle) })
            }),
        }
    }

    /// Returns all cases, in the order in which [`run_all`](Self::run_all) runs them.
    pub fn cases() -> impl Iterator<Item = &'static Case> {
        cases::ALL.iter()
    }

    /// Runs one case. A panic inside the store is a failure, too.
    pub async fn run(&self, case: &Case) -> Outcome {
        let store = match (self.open)().await {
            Ok(store) => store,
            Err(e) => return Outcome::Failed(format!("the store could not be opened: {e}")),
        };
        if let Some(needed) = case.needs.filter(|needed| !needed.is_declared(&store.capabilities())) {
            return Outcome::NotDeclared(needed);
        }
        let context = TestContext { suite: self.clone(), case: case.name, store };
        match tokio::spawn((case.run)(context)).await {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
            Err(e) => Outcome::Failed(failure::of_join(e).to_string()),
        }
    }

    /// Runs all cases, one after the other.
    pub async fn run_all(&self) -> Report {
        let mut report = Report::default();
        for case in Self::cases() {
            report.outcomes.push((*case, self.run(case).await));
        }
        report
    }

    /// Runs the case with this name as a test; called by [`conformance_tests!`](crate::conformance_tests).
    ///
    /// # Panics
    /// If the case fails, if there is no such case, or if the store's declaration of the capability that it needs differs from
    /// `declared`, so that a capability lost by mistake does not pass as one never had.
    pub async fn check(&self, name: &str, declared: Capabilities) {
        let case = Self::cases().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("the suite has no case {name:?}"));
        match self.run(case).await {
            Outcome::Passed => {}
            Outcome::Failed(why) => panic!("{name} promise that {}\n{why}", case.promise),
            Outcome::NotDeclared(needed) if needed.is_declared(&declared) => {
                panic!("the store does not declare {needed:?}, although its tests expect it")
            }
            Outcome::NotDeclared(needed) => println!("not tested: the store does not declare {needed:?}"),
        }
    }

    /// Checks that the store declares exactly these capabilities; called by [`conformance_tests!`](crate::conformance_tests).
    ///
    /// # Panics
    /// If it declares others or cannot be opened.
    pub async fn check_capabilities(&self, declared: Capabilities) {
        match (self.open)().await {
            Ok(store) => assert_eq!(store.capabilities(), declared, "the declared capabilities, and those that its tests expect"),
            Err(e) => panic!("the store could not be opened: {e}"),
        }
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Suite")
    }
}

/// One run of one case.
struct TestContext {
    suite: Suite,
    case: &'static str,
    store: Handle,
}

impl TestContext {
    /// A session that no other test uses.
    fn session(&self) -> Result<SessionId, Error> {
        SessionId::new(format!("conformance/{}/{}", self.case, Uuid::new_v4()))
    }

    /// Opens another handle on the same data.
    async fn open(&self) -> Result<Handle, Error> {
        (self.suite.open)().await
    }

    /// Opens this many more handles, and returns them with the first one.
    async fn handles(&self, more: usize) -> Result<Vec<Handle>, Error> {
        let mut handles = vec![Arc::clone(&self.store)];
        for _ in 0..more {
            handles.push(self.open().await?);
        }
        Ok(handles)
    }
}
