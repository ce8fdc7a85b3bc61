//! DynamoDB Local, as started by `cargo xtask test`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the URL of DynamoDB Local.
///
/// # Panics
/// If there is none: a test that needs it fails and is never skipped.
pub fn dynamodb_endpoint() -> String {
    match std::env::var("DYNAMODB_ENDPOINT") {
        Ok(url) if !url.is_empty() => url,
        _ => panic!(
            "this test needs DynamoDB Local (DYNAMODB_ENDPOINT is not set): run `cargo xtask test`, or run the test inside \
            `cargo xtask emulator -- cargo test …`"
        ),
    }
}

/// Returns the environment for a program that uses DynamoDB Local: a region, and credentials, which are not secret because it
/// accepts any.
pub fn credentials_env() -> [(&'static str, &'static str); 4] {
    [
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", "us-east-1"),
        // Never query the network for an instance's role.
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
}

/// Returns a table name that no other test uses, in this process or another, now or later on the same DynamoDB Local.
///
/// ```
/// let name = chat_memory_testkit::table_name("faults");
/// assert!(name.starts_with("faults-") && name.len() <= 255);
/// assert_ne!(name, chat_memory_testkit::table_name("faults"));
/// ```
pub fn table_name(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{prefix}-{now}-{}-{count}", std::process::id())
}
