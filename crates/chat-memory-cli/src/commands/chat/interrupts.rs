//! Ctrl-C, which is heard from the first moment on: none is lost between two waits.

use std::sync::Arc;

use tokio::sync::Notify;

/// The Ctrl-C's of the user.
pub struct Interrupts(Arc<Notify>);

impl Interrupts {
    /// Listens from now on.
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

    /// Waits for the next, or returns at once if one came since the last wait.
    pub async fn next(&self) {
        self.0.notified().await;
    }
}
