//! Captures everything that this process and its dependencies log, at the finest level.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::format::FmtSpan;

/// The log so far.
#[derive(Clone, Default)]
pub struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    /// Captures from now on what every crate logs at level `trace`, through `tracing` and `log`.
    ///
    /// # Panics
    /// If this process already has another subscriber.
    pub fn start() -> Self {
        static STARTED: OnceLock<Traced> = OnceLock::new();
        let start = || {
            let traced = Self::default();
            let writer = traced.clone();
            tracing_log::LogTracer::init().expect("no other logger");
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
            let subscriber = subscriber.with_ansi(false).with_span_events(FmtSpan::FULL).with_writer(move || writer.clone());
            tracing::subscriber::set_global_default(subscriber.finish()).expect("no other subscriber");
            traced
        };
        STARTED.get_or_init(start).clone()
    }

    /// Returns everything logged so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
