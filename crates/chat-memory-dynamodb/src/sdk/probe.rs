//! Requests that test whether the credentials allow an operation, without changing anything.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, ReturnConsumedCapacity, TransactWriteItem};

use super::items::SdkItem;
use super::{Failure, Refused, SdkTable};
use crate::iam::Operation;
use crate::table::Key;
use chat_memory_core::store::Cost;

/// Never true: IAM checks a write with this condition, and DynamoDB then refuses it.
const NEVER: &str = "attribute_exists(#pk) AND attribute_not_exists(#pk)";

/// The sort key of the probed item.
const SORT_KEY: &str = "probe";

impl SdkTable {
    /// Tests an operation about items on a reserved partition. `Ok` if the credentials allow it.
    pub(crate) async fn probe(&self, operation: Operation, partition: &str, cost: &mut Cost) -> Result<(), Failure> {
        let key = Key { pk: partition.to_owned(), sk: SORT_KEY.to_owned() };
        match operation {
            Operation::Query => self.probe_query(&key, cost).await,
            Operation::TransactWriteItems => self.probe_condition_check(&key, cost).await,
            _ => {
                let sdk_key = self.0.target.sdk_key(&key);
                self.probe_key(operation, sdk_key, &self.0.target.partition_key, cost).await
            }
        }
    }

    /// Tests an operation on the item with this key. `Ok` if the credentials allow it.
    pub(crate) async fn probe_key(
        &self,
        operation: Operation,
        key: SdkItem,
        partition_key: &str,
        cost: &mut Cost,
    ) -> Result<(), Failure> {
        if operation == Operation::GetItem {
            let request = self.0.client.get_item().table_name(&self.0.target.table).set_key(Some(key));
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
            return answer.map(drop).map_err(|refused| refused.failure);
        }
        self.probe_write(operation, key, partition_key, cost).await
    }

    async fn probe_query(&self, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        let request = self.0.client.query().table_name(&self.0.target.table).limit(1);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let request = request
            .key_condition_expression("#pk = :pk AND #sk = :sk")
            .expression_attribute_names("#pk", &self.0.target.partition_key)
            .expression_attribute_names("#sk", &self.0.target.sort_key)
            .expression_attribute_values(":pk", AttributeValue::S(key.pk.clone()))
            .expression_attribute_values(":sk", AttributeValue::S(key.sk.clone()));
        let answer = self.call(Operation::Query, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        answer.map(drop).map_err(|refused| refused.failure)
    }

    async fn probe_write(&self, operation: Operation, key: SdkItem, partition_key: &str, cost: &mut Cost) -> Result<(), Failure> {
        let target = &self.0.target;
        let (client, key) = (&self.0.client, Some(key));
        match operation {
            Operation::UpdateItem => {
                let request = client.update_item().table_name(&target.table).set_key(key).condition_expression(NEVER);
                let request = request.expression_attribute_names("#pk", partition_key);
                let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
                allowed(answer, |error| matches!(error, UpdateItemError::ConditionalCheckFailedException(_)))
            }
            Operation::DeleteItem => {
                let request = client.delete_item().table_name(&target.table).set_key(key).condition_expression(NEVER);
                let request = request.expression_attribute_names("#pk", partition_key);
                let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
                allowed(answer, |error| matches!(error, DeleteItemError::ConditionalCheckFailedException(_)))
            }
            _ => {
                let request = client.put_item().table_name(&target.table).set_item(key).condition_expression(NEVER);
                let request = request.expression_attribute_names("#pk", partition_key);
                let answer = self.call(Operation::PutItem, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
                allowed(answer, |error| matches!(error, PutItemError::ConditionalCheckFailedException(_)))
            }
        }
    }

    /// A transaction with a condition check only: the actions of its other parts are tested separately.
    async fn probe_condition_check(&self, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        let target = &self.0.target;
        let operation = Operation::TransactWriteItems;
        let check = ConditionCheck::builder()
            .table_name(&target.table)
            .set_key(Some(target.sdk_key(key)))
            .condition_expression(NEVER)
            .set_expression_attribute_names(Some(HashMap::from([("#pk".to_owned(), target.partition_key.clone())])))
            .build()
            .map_err(|unbuilt| super::control::unsent(operation, &unbuilt))?;
        let request = self.0.client.transact_write_items();
        let request = request.transact_items(TransactWriteItem::builder().condition_check(check).build());
        let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        allowed(answer, |error| {
            let TransactWriteItemsError::TransactionCanceledException(why) = error else { return false };
            why.cancellation_reasons().iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"))
        })
    }
}

fn allowed<T, E>(answer: Result<T, Refused<E>>, is_condition: impl Fn(&E) -> bool) -> Result<(), Failure> {
    match answer {
        Ok(_) => Ok(()),
        Err(refused) if refused.answer.as_ref().is_some_and(is_condition) => Ok(()),
        Err(refused) => Err(refused.failure),
    }
}
