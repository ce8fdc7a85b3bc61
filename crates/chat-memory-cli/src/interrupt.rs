//! Ctrl-C in commands that write much. The first ends them between two appends, so that nothing is half-written; a second one ends
//! them at once.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressBar;
use tokio::sync::watch;

use crate::failure::{Failure, INTERRUPTED};
use crate::output::say;

/// Whether Ctrl-C was pressed.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Receiver<bool>,
    /// The progress bar, if one is on the screen.
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Interrupt {
    /// Starts listening, for as long as the program runs.
    pub fn listen() -> Self {
        let (sender, asked) = watch::channel(false);
        let interrupt = Self { asked, bar: Arc::default() };
        let bar = Arc::clone(&interrupt.bar);
        tokio::spawn(async move {
            // If it cannot listen, Ctrl-C ends the program as usual.
            while tokio::signal::ctrl_c().await.is_ok() {
                let bar = bar.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(ProgressBar::hidden);
                if sender.send_replace(true) {
                    bar.finish_and_clear();
                    std::process::exit(INTERRUPTED.into());
                }
                bar.suspend(|| say("interrupted: finishing what has started; press Ctrl-C again to stop at once"));
            }
        });
        interrupt
    }

    /// Sets the progress bar that is on the screen from now on.
    pub fn clears(&self, bar: &ProgressBar) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
    }

    /// Whether it was pressed.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until it is pressed.
    pub async fn asked(&self) {
        let mut receiver = self.asked.clone();
        if receiver.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs this; returns `None` if Ctrl-C is pressed before the end. Only for work that can be abandoned at any time.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.asked() => None,
            done = work => Some(done),
        }
    }

    /// The same, as the failure that ends the command.
    pub async fn or_fail<T, E: Into<Failure>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
        self.or(work).await.map_or(Err(Failure::Printed(INTERRUPTED)), |done| done.map_err(Into::into))
    }
}
