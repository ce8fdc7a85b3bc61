//! Detects whether a response is DynamoDB's. Proxies, captive portals and mistyped endpoints answer too, and the SDK takes any JSON
//! object for an empty success.

use aws_sdk_dynamodb::operation::create_table::CreateTableOutput;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::describe_continuous_backups::DescribeContinuousBackupsOutput;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableOutput;
use aws_sdk_dynamodb::operation::describe_time_to_live::DescribeTimeToLiveOutput;
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_time_to_live::UpdateTimeToLiveOutput;

/// A response that has what DynamoDB always includes. Every request about items asks for the consumed capacity.
pub(super) trait Whole {
    /// What an incomplete response lacks.
    const LACKS: &'static str;
    fn is_whole(&self) -> bool;
}

macro_rules! whole {
    ($($output:ty: $lacks:literal, $is_whole:expr;)*) => {$(
        impl Whole for $output {
            const LACKS: &'static str = concat!("it lacks ", $lacks, ", which DynamoDB always sends");
            fn is_whole(&self) -> bool {
                let is_whole: fn(&Self) -> bool = $is_whole;
                is_whole(self)
            }
        }
    )*};
}

whole! {
    PutItemOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some();
    UpdateItemOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some();
    DeleteItemOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some();
    GetItemOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some();
    QueryOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some() && answer.items.is_some();
    ScanOutput: "ConsumedCapacity", |answer| answer.consumed_capacity.is_some() && answer.items.is_some();
    TransactWriteItemsOutput: "ConsumedCapacity", |answer| !answer.consumed_capacity().is_empty();
    CreateTableOutput: "a TableDescription", |answer| answer.table_description.is_some();
    DescribeTableOutput: "a Table", |answer| answer.table.is_some();
    DescribeTimeToLiveOutput: "a TimeToLiveDescription", |answer| answer.time_to_live_description.is_some();
    UpdateTimeToLiveOutput: "a TimeToLiveSpecification", |answer| answer.time_to_live_specification.is_some();
    DescribeContinuousBackupsOutput: "a ContinuousBackupsDescription", |answer| answer.continuous_backups_description.is_some();
}
