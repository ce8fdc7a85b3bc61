//! All that this process and its dependencies log, at the finest level.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing_subscriber::fmt::format::FmtSpan;

/// What was logged so far.
#[derive(Clone, Default)]
pub struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    /// Listens from now on, to every crate, at level `trace`: to `tracing` and to `log`.
    ///
    /// # Panics
    /// Where somebody else in this process listens.
    pub fn start() -> Self {
        static STARTED: OnceLock<Traced> = OnceLock::new();
        let start = || {
            let traced = Self::default();
            let writer = traced.clone();
            tracing_log::LogTracer::init().expect("nobody else takes what is logged");
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
            let subscriber = subscriber.with_ansi(false).with_span_events(FmtSpan::FULL).with_writer(move || writer.clone());
            tracing::subscriber::set_global_default(subscriber.finish()).expect("nobody else listens");
            traced
        };
        STARTED.get_or_init(start).clone()
    }

    /// All of it.
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
