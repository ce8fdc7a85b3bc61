//! For this project's simulations only: a store whose clocks are led, whose rows are small, and of which a rule can be taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rows::Rows;
use super::store::{CheckpointOptions, CheckpointStore, Inner};
use crate::store::position::Moment;

pub use super::rules::Rule;

/// What is simulated.
#[derive(Clone)]
pub struct Simulated {
    clock: Arc<dyn Fn() -> Moment + Send + Sync>,
    /// What distinguishes this process from others.
    process: u64,
    calls: Arc<AtomicU64>,
    pub(super) without: Option<Rule>,
    pub(super) max_tail: usize,
    pub(super) max_frame: usize,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").field("without", &self.without).finish_non_exhaustive()
    }
}

impl Simulated {
    /// A process with these clocks and rows of up to this many bytes, perhaps without a rule.
    pub fn new(
        clock: impl Fn() -> Moment + Send + Sync + 'static,
        process: u64,
        (max_tail, max_frame): (usize, usize),
        without: Option<Rule>,
    ) -> Self {
        Self { clock: Arc::new(clock), process, calls: Arc::default(), without, max_tail, max_frame }
    }

    /// A store of this process.
    pub fn store(self, rows: impl Rows + 'static, options: CheckpointOptions) -> CheckpointStore {
        let mut inner = Inner::new(Arc::new(rows), options);
        inner.simulated = Some(self);
        CheckpointStore(Arc::new(inner))
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    pub(super) fn unique(&self) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("{:013x}{:04x}{number:06x}", self.now().wall.as_millis(), self.process)
    }
}
