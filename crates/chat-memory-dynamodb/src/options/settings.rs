//! The table of settings: what a store URL can say of a table, and how each value is checked.

use std::fmt;
use std::time::Duration;

use url::Url;

use super::{Dialect, Layout, MAX_RETENTION, MIN_RETENTION, Options, Roll};
use chat_memory_core::Namespace;
use chat_memory_core::backend::settings::{self, Setting, bytes, duration, one_of, spell_bytes, spell_duration, text};
use chat_memory_core::error::Error;

/// The longest name of an attribute that is a key, in bytes (DynamoDB's limit).
const MAX_NAME_BYTES: usize = 255;

/// The longest sort key, in bytes (DynamoDB's limit).
const MAX_SORT_KEY_BYTES: usize = 1024;

/// The settings that a store URL can give.
const SETTINGS: [Setting<Options>; 18] = [
    Setting::new("region", "eu-west-1", |o, v| region(v).map(|v| o.region = Some(v)), |o| o.region.clone()),
    Setting::<Options>::new("endpoint", "URL", |o, v| endpoint(v).map(|v| o.endpoint = Some(v)), |o| o.endpoint.clone())
        .may_hold_secret(),
    Setting::new("profile", "NAME", |o, v| text(v).map(|v| o.profile = Some(v)), |o| o.profile.clone()),
    Setting::new("partition_key", "NAME", |o, v| name(v).map(|v| o.partition_key = Some(v)), |o| o.partition_key.clone()),
    Setting::new("sort_key", "NAME", |o, v| name(v).map(|v| o.sort_key = Some(v)), |o| o.sort_key.clone()),
    Setting::new(
        "namespace",
        "NAME",
        |o, v| Namespace::new(v).map(|v| o.namespace = Some(v)).map_err(|e| e.to_string()),
        |o| o.namespace.as_ref().map(Namespace::to_string),
    ),
    Setting::new("retention", "30d", |o, v| retention(v).map(|v| o.retention = Some(v)), |o| o.retention.map(spell_duration)),
    Setting::new(
        "consistency",
        "strong|eventual",
        |o, v| one_of(v, "strong or eventual", &[("strong", false), ("eventual", true)]).map(|v| o.eventual = v),
        |o| Some(if o.eventual { "eventual" } else { "strong" }.to_owned()),
    ),
    Setting::new("read_only", "true", |o, v| settings::boolean(v).map(|v| o.read_only = v), |o| Some(o.read_only.to_string())),
    Setting::new(
        "layout",
        "list|turns",
        |o, v| Layout::parse(v).map(|v| o.layout = Some(v)),
        |o| o.layout.map(|v| v.to_string()),
    ),
    Setting::new(
        "dialect",
        "js|python",
        |o, v| Dialect::parse(v).map(|v| o.dialect = Some(v)),
        |o| o.dialect.map(|v| v.to_string()),
    ),
    Setting::new("list_attribute", "NAME", |o, v| name(v).map(|v| o.list_attribute = Some(v)), |o| o.list_attribute.clone()),
    Setting::new("sort_value", "VALUE", |o, v| sort_value(v).map(|v| o.sort_value = Some(v)), |o| o.sort_value.clone()),
    Setting::new("ttl_attribute", "NAME", |o, v| name(v).map(|v| o.ttl_attribute = Some(v)), |o| o.ttl_attribute.clone()),
    Setting::new("roll", "64KB|off", |o, v| Roll::parse(v).map(|v| o.roll = v), |o| Some(o.roll.to_string())),
    Setting::new(
        "max_record",
        "16MB",
        |o, v| bytes(v).map(|v| o.max_record_bytes = v),
        |o| Some(spell_bytes(o.max_record_bytes)),
    ),
    Setting::new(
        "request_timeout",
        "5s",
        |o, v| duration(v).map(|v| o.request_timeout = v),
        |o| Some(spell_duration(o.request_timeout)),
    ),
    Setting::new("deadline", "30s", |o, v| duration(v).map(|v| o.deadline = v), |o| Some(spell_duration(o.deadline))),
];

impl Options {
    /// The settings that have a name and a text, as in a store URL: all but the table, the credentials and the time to connect.
    pub const SETTINGS: [Setting<Self>; 18] = SETTINGS;

    /// Sets a setting by its name, as a store URL does.
    ///
    /// ```
    /// use chat_memory::store::dynamodb::Options;
    /// let mut options = Options::new("chats");
    /// options.set("retention", "30d")?;
    /// let error = options.set("region", "EU-WEST-1").unwrap_err();
    /// assert_eq!(error.to_string(), "invalid region \"EU-WEST-1\": expected a name such as eu-west-1");
    /// # Ok::<(), chat_memory::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid if there is no such setting, or if it cannot have this value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        settings::set(&SETTINGS, self, name, value)
    }
}

impl fmt::Debug for Options {
    /// Prints the options without anything that could be a secret, even before they are checked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Options");
        out.field("table", &self.table);
        settings::debug(&SETTINGS, self, &mut out);
        out.field("credentials", &self.credentials).field("connect_deadline", &self.connect_deadline);
        out.field("reconnect_deadline", &self.reconnect_deadline).finish()
    }
}

fn region(value: &str) -> Result<String, String> {
    let is_name = !value.is_empty() && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if is_name { Ok(value.to_owned()) } else { Err("expected a name such as eu-west-1".into()) }
}

/// Checks the service's URL.
fn endpoint(value: &str) -> Result<String, String> {
    let url = Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else { return Err("expected a URL such as http://127.0.0.1:8000".into()) };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "it holds a user name or password, which DynamoDB does not use; give credentials by environment or by a profile"
                .into(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment; expected a URL such as http://127.0.0.1:8000".into());
    }
    Ok(value.to_owned())
}

fn name(value: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME_BYTES).contains(&value.len());
    if fits { Ok(value.to_owned()) } else { Err(format!("expected an attribute's name of 1 to {MAX_NAME_BYTES} bytes")) }
}

fn sort_value(value: &str) -> Result<String, String> {
    let fits = (1..=MAX_SORT_KEY_BYTES).contains(&value.len());
    if fits { Ok(value.to_owned()) } else { Err(format!("expected a sort key of 1 to {MAX_SORT_KEY_BYTES} bytes")) }
}

fn retention(value: &str) -> Result<Duration, String> {
    let kept = settings::retention(value)?;
    let fits = (MIN_RETENTION..=MAX_RETENTION).contains(&kept);
    if fits { Ok(kept) } else { Err("expected an hour to a hundred years; leave it out to keep everything".into()) }
}
