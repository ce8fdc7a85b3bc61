//! Ctrl-C, caught from the start, so that none is lost between two waits.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Notify;

/// The user's presses of Ctrl-C.
pub struct Interrupts(Arc<Notify>);

impl Interrupts {
    /// Starts listening.
    pub fn listen() -> Self {
        let notify = Arc::new(Notify::new());
        let heard = Arc::clone(&notify);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                heard.notify_one();
            }
        });
        Self(notify)
    }

    /// Waits for the next one; returns at once if one came since the last wait.
    pub async fn next(&self) {
        self.0.notified().await;
    }

    /// Forgets one that came since the last wait: it was not meant for what follows.
    pub fn forget(&self) {
        let _ = self.0.notified().now_or_never();
    }
}
