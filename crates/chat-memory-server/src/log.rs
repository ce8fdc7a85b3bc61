//! The service's log: on standard error, for people or as JSON lines, with the request's id; never a message's text or a key.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{LogFormat, LogLevel};

/// Starts the log of this process. A second call does nothing.
///
/// Other crates may only warn: at finer levels an HTTP or AWS client would log what it sends.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let others = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(others).with_target("chat_memory", level).with_target("chat_memory_server", level);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    // An error means that a log is already set up.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}
