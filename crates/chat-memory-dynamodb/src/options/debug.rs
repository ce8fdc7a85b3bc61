//! Prints options without anything that could be a secret, even before they are checked.

use std::fmt;

use url::Url;

use super::Options;

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every field is listed, so that a new one is not forgotten here.
        let Self {
            table,
            region,
            partition_key,
            sort_key,
            endpoint,
            profile,
            credentials,
            namespace,
            retention,
            eventual,
            read_only,
            layout,
            dialect,
            list_attribute,
            sort_value,
            ttl_attribute,
            roll,
            max_record_bytes,
            request_timeout,
            deadline,
            connect_deadline,
            reconnect_deadline,
        } = self;
        let mut fields = f.debug_struct("Options");
        fields.field("table", table).field("region", region).field("partition_key", partition_key).field("sort_key", sort_key);
        fields.field("endpoint", &endpoint.as_deref().map(printable)).field("profile", profile);
        fields.field("credentials", credentials).field("namespace", namespace).field("retention", retention);
        fields.field("eventual", eventual).field("read_only", read_only).field("layout", layout).field("dialect", dialect);
        fields.field("list_attribute", list_attribute).field("sort_value", sort_value).field("ttl_attribute", ttl_attribute);
        fields.field("roll", roll).field("max_record_bytes", max_record_bytes).field("request_timeout", request_timeout);
        fields.field("deadline", deadline).field("connect_deadline", connect_deadline);
        fields.field("reconnect_deadline", reconnect_deadline).finish()
    }
}

/// The service's URL; only a placeholder if it is no URL with a host, or holds a user name or password.
fn printable(endpoint: &str) -> &str {
    let good = |url: Url| url.has_host() && url.username().is_empty() && url.password().is_none();
    if Url::parse(endpoint).is_ok_and(good) { endpoint } else { "…" }
}
