mod local;
mod replayed;

use std::time::Duration;

use super::{MAX_ITEM_BYTES, MAX_PAGE_BYTES, SdkTable, time_limit};

impl SdkTable {
    /// How many items the table holds.
    pub(crate) async fn items_in_all(&self) -> i32 {
        self.inner.client.scan().table_name(&self.inner.target.table).send().await.expect("a scan").count()
    }
}

#[test]
fn large_requests_get_longer_timeouts() {
    let limit = |bytes| time_limit(Duration::from_secs(5), bytes).as_secs();
    assert_eq!((limit(0), limit(MAX_ITEM_BYTES), limit(MAX_PAGE_BYTES)), (5, 7, 10));
}
