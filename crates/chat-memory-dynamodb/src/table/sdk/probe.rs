//! Requests that test whether the credentials allow an operation, without changing anything.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, ReturnConsumedCapacity, TransactWriteItem};

use super::{Failure, Refused, SdkTable};
use crate::iam::Operation;
use crate::table::Key;
use chat_memory_core::store::Cost;

/// Never true: IAM checks a write with this condition, and DynamoDB then refuses it.
const NEVER: &str = "attribute_exists(#pk) AND attribute_not_exists(#pk)";

impl SdkTable {
    /// Tests an operation on the item with this key; changes nothing. `Ok` if the credentials allow it.
    pub(crate) async fn probe(&self, operation: Operation, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        match operation {
            Operation::Query => self.probe_query(key, cost).await,
            Operation::TransactWriteItems => self.probe_condition_check(key, cost).await,
            Operation::GetItem => {
                let request = self.inner.client.get_item().table_name(&self.inner.target.table).set_key(Some(self.sdk_key(key)));
                let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
                let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
                answer.map(drop).map_err(|refused| refused.failure)
            }
            _ => self.probe_write(operation, key, cost).await,
        }
    }

    async fn probe_query(&self, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        let request = self.inner.client.query().table_name(&self.inner.target.table).limit(1);
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let request = request
            .key_condition_expression("#pk = :pk AND #sk = :sk")
            .expression_attribute_names("#pk", &self.keys.partition)
            .expression_attribute_names("#sk", self.keys.sort.as_deref().unwrap_or_default())
            .expression_attribute_values(":pk", AttributeValue::S(key.pk.clone()))
            .expression_attribute_values(":sk", AttributeValue::S(key.sk.clone()));
        let answer = self.call(Operation::Query, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        answer.map(drop).map_err(|refused| refused.failure)
    }

    async fn probe_write(&self, operation: Operation, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        let target = &self.inner.target;
        let (client, key, partition_key) = (&self.inner.client, Some(self.sdk_key(key)), &self.keys.partition);
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
        let target = &self.inner.target;
        let operation = Operation::TransactWriteItems;
        let check = ConditionCheck::builder()
            .table_name(&target.table)
            .set_key(Some(self.sdk_key(key)))
            .condition_expression(NEVER)
            .set_expression_attribute_names(Some(HashMap::from([("#pk".to_owned(), self.keys.partition.clone())])))
            .build()
            .map_err(|unbuilt| super::control::unsent(operation, &unbuilt))?;
        let request = self.inner.client.transact_write_items();
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
