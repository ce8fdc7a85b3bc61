mod local;
mod replayed;

use super::SdkTable;

impl SdkTable {
    /// How many items the table holds.
    pub(crate) async fn items_in_all(&self) -> i32 {
        self.0.client.scan().table_name(&self.0.target.table).send().await.expect("a scan").count()
    }
}
