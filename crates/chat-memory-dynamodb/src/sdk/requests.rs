//! The requests of the protocol.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, ConsumedCapacity, Delete, Put, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::control::unsent;
use super::items::SdkItem;
use super::{Failure, MAX_ITEM_BYTES, MAX_PAGE_BYTES, Refused, SdkTable};
use crate::iam::Operation;
use crate::table::{Change, Created, Expected, Fault, Item, Key, NewItem, Page, Precondition, Range, ScanPage, Table, Updated};
use crate::{names, size};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{AppendId, Cost};

/// How many items are enough to detect what a table holds.
const SAMPLE: i32 = 20;

const TOTAL: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;
const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

/// All attribute names use placeholders, since DynamoDB reserves hundreds of words.
const IS_NEW: &str = "attribute_not_exists(#pk)";
const EXISTS: &str = "attribute_exists(#pk)";
const EXISTS_AS_SEEN: &str = "attribute_exists(#pk) AND #id = :id AND #at = :at";
const AS_SEEN: &str = "#id = :id";

#[async_trait]
impl Table for SdkTable {
    async fn ttl_attribute(&self, cost: &mut Cost) -> Result<String, Fault> {
        // If TTL is off nothing is purged; the usual name is ready for when it is turned on.
        let name = SdkTable::ttl_attribute(self, cost).await?;
        Ok(name.unwrap_or_else(|| names::TTL.to_owned()))
    }

    async fn create(&self, new: &NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        let item = self.0.target.sdk_item(&new.item);
        let bytes = size::attributes_bytes(&item);
        let created = if new.precondition.is_none() && new.changes.is_empty() {
            self.create_alone(item, bytes, cost).await?
        } else {
            self.create_in_transaction(item, bytes, new, cost).await?
        };
        if matches!(created, Created::Done) {
            cost.bytes += bytes as u64;
        }
        Ok(created)
    }

    async fn replace(&self, item: &Item, seen: AppendId, cost: &mut Cost) -> Result<bool, Fault> {
        let item = self.0.target.sdk_item(item);
        let bytes = size::attributes_bytes(&item);
        let request = self.put_item(item).condition_expression(AS_SEEN);
        let request = request.expression_attribute_names("#id", names::APPEND_ID).expression_attribute_values(":id", id(seen));
        let answer = self.call(Operation::PutItem, bytes, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, bytes, answer.consumed_capacity());
                Ok(true)
            }
            Err(Refused { answer: Some(PutItemError::ConditionalCheckFailedException(_)), .. }) => Ok(false),
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn put(&self, item: &Item, cost: &mut Cost) -> Result<(), Fault> {
        let item = self.0.target.sdk_item(item);
        let bytes = size::attributes_bytes(&item);
        let request = self.put_item(item);
        let answer = self.call(Operation::PutItem, bytes, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, bytes, answer.consumed_capacity());
                Ok(())
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn update(
        &self,
        key: &Key,
        set: &[(&str, Option<AttributeValue>)],
        expected: Option<Expected<'_>>,
        cost: &mut Cost,
    ) -> Result<Updated, Fault> {
        let expression = UpdateExpression::new(set.iter().map(|(name, value)| (*name, value.as_ref())));
        let mut request = self
            .0
            .client
            .update_item()
            .table_name(&self.0.target.table)
            .set_key(Some(self.0.target.sdk_key(key)))
            .set_update_expression(expression.text)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(expression.values)
            .expression_attribute_names("#pk", &self.0.target.partition_key)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ALL_OLD)
            .return_consumed_capacity(TOTAL);
        request = match expected {
            None => request.condition_expression(EXISTS),
            Some((name, None)) => request
                .condition_expression(format!("{EXISTS} AND attribute_not_exists(#seen)"))
                .expression_attribute_names("#seen", name),
            Some((name, Some(value))) => request
                .condition_expression(format!("{EXISTS} AND #seen = :seen"))
                .expression_attribute_names("#seen", name)
                .expression_attribute_values(":seen", value.clone()),
        };
        let answer =
            self.call(Operation::UpdateItem, MAX_ITEM_BYTES, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                wrote(cost, size::attributes_bytes(&item), answer.consumed_capacity.as_ref());
                // The write is done. An unreadable item is detected by whoever reads it next.
                self.0.target.item(item).map(Updated::Done).map_err(stop)
            }
            Err(Refused { answer: Some(UpdateItemError::ConditionalCheckFailedException(old)), .. }) => match old.item {
                Some(item) => self.read_item(item, cost).map(Updated::Changed),
                None => Ok(Updated::Missing),
            },
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn delete(&self, key: &Key, cost: &mut Cost) -> Result<(), Fault> {
        let request = self.0.client.delete_item().table_name(&self.0.target.table).return_consumed_capacity(TOTAL);
        let request = request.set_key(Some(self.0.target.sdk_key(key)));
        let answer = self.call(Operation::DeleteItem, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity());
                Ok(())
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn get(&self, key: &Key, cost: &mut Cost) -> Result<Option<Item>, Fault> {
        let request = self.0.client.get_item().table_name(&self.0.target.table).return_consumed_capacity(TOTAL);
        let request = request.set_key(Some(self.0.target.sdk_key(key))).consistent_read(true);
        let answer =
            self.call(Operation::GetItem, MAX_ITEM_BYTES, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                answer.item.map(|item| self.read_item(item, cost)).transpose()
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn page(&self, range: &Range, after: Option<&str>, cost: &mut Cost) -> Result<Page, Fault> {
        let target = &self.0.target;
        let mut request = self
            .0
            .client
            .query()
            .table_name(&target.table)
            .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
            .set_expression_attribute_names(Some(self.projection(range.only.unwrap_or_default()).1))
            .expression_attribute_values(":pk", AttributeValue::S(range.pk.clone()))
            .expression_attribute_values(":from", AttributeValue::S(range.from.clone()))
            .expression_attribute_values(":to", AttributeValue::S(range.to.clone()))
            .scan_index_forward(!range.newest_first)
            .consistent_read(!range.eventual)
            .set_limit(range.limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
            .return_consumed_capacity(TOTAL);
        if let Some(only) = range.only {
            request = request.projection_expression(self.projection(only).0);
        }
        if let Some(after) = after {
            let key = Key { pk: range.pk.clone(), sk: after.to_owned() };
            request = request.set_exclusive_start_key(Some(target.sdk_key(&key)));
        }
        let answer =
            self.call(Operation::Query, page_bytes(range), cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                let items = answer.items.unwrap_or_default().into_iter().map(|item| self.read_item(item, cost));
                let items = items.collect::<Result<_, Fault>>()?;
                let after = answer.last_evaluated_key.map(|key| target.item(key).map_err(stop)).transpose()?;
                Ok(Page { items, after: after.map(|last| last.key.sk) })
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn scan(&self, only: &[&str], after: Option<&Key>, cost: &mut Cost) -> Result<ScanPage, Fault> {
        let target = &self.0.target;
        let (projection, names) = self.projection(only);
        let request = self
            .0
            .client
            .scan()
            .table_name(&target.table)
            .projection_expression(projection)
            .set_expression_attribute_names(Some(names))
            .consistent_read(true)
            .set_exclusive_start_key(after.map(|key| target.sdk_key(key)))
            .return_consumed_capacity(TOTAL);
        let answer = self.call(Operation::Scan, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                let items = answer.items.unwrap_or_default().into_iter().map(|item| self.read_item(item, cost));
                let items = items.collect::<Result<_, Fault>>()?;
                let after = answer.last_evaluated_key.map(|key| target.item(key).map_err(stop)).transpose()?;
                Ok(ScanPage { items, after: after.map(|last| last.key) })
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }
}

impl SdkTable {
    /// Reads a sample of the table's items, whole and unchanged.
    pub(crate) async fn sample(&self, cost: &mut Cost) -> Result<Vec<SdkItem>, Failure> {
        let request = self.0.client.scan().table_name(&self.0.target.table).limit(SAMPLE).return_consumed_capacity(TOTAL);
        let answer = self.call(Operation::Scan, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        let answer = answer.map_err(|refused| refused.failure)?;
        read(cost, answer.consumed_capacity());
        Ok(answer.items.unwrap_or_default())
    }

    /// A projection of the keys and these attributes, with the names that it uses.
    fn projection(&self, only: &[&str]) -> (String, HashMap<String, String>) {
        let target = &self.0.target;
        let mut names =
            HashMap::from([("#pk".to_owned(), target.partition_key.clone()), ("#sk".to_owned(), target.sort_key.clone())]);
        let mut projection = vec!["#pk".to_owned(), "#sk".to_owned()];
        for (place, name) in only.iter().enumerate() {
            projection.push(format!("#a{place}"));
            names.insert(format!("#a{place}"), (*name).to_owned());
        }
        (projection.join(", "), names)
    }

    fn put_item(&self, item: SdkItem) -> aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder {
        let request = self.0.client.put_item().table_name(&self.0.target.table).set_item(Some(item));
        request.return_consumed_capacity(TOTAL)
    }

    async fn create_alone(&self, item: SdkItem, bytes: usize, cost: &mut Cost) -> Result<Created, Fault> {
        let request = self
            .put_item(item)
            .condition_expression(IS_NEW)
            .expression_attribute_names("#pk", &self.0.target.partition_key)
            .return_values_on_condition_check_failure(ALL_OLD);
        let answer = self.call(Operation::PutItem, bytes, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity());
                Ok(Created::Done)
            }
            Err(Refused { answer: Some(PutItemError::ConditionalCheckFailedException(taken)), .. }) => {
                self.taken(taken.item, cost)
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn create_in_transaction(&self, item: SdkItem, bytes: usize, new: &NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        let unsent = |unbuilt| unsent(Operation::TransactWriteItems, &unbuilt).into_fault(&self.0.target, None);
        let mut parts = vec![TransactWriteItem::builder().put(self.put_new(item).map_err(unsent)?).build()];
        if let Some(precondition) = &new.precondition {
            parts.push(TransactWriteItem::builder().condition_check(self.check(precondition).map_err(unsent)?).build());
        }
        for change in &new.changes {
            parts.push(self.change(change).map_err(unsent)?);
        }
        // `cancelled` reads the reasons in this order: the item, its precondition, the changes.
        let request = self.0.client.transact_write_items().set_transact_items(Some(parts)).return_consumed_capacity(TOTAL);
        let answer =
            self.call(Operation::TransactWriteItems, bytes, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                for consumed in answer.consumed_capacity() {
                    transacted(cost, consumed);
                }
                Ok(Created::Done)
            }
            Err(Refused { answer: Some(TransactWriteItemsError::TransactionCanceledException(why)), failure }) => {
                self.cancelled(why.cancellation_reasons.unwrap_or_default(), new.precondition.is_some(), failure, cost).await
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    fn pk_name(&self) -> HashMap<String, String> {
        HashMap::from([("#pk".to_owned(), self.0.target.partition_key.clone())])
    }

    fn put_new(&self, item: SdkItem) -> Result<Put, BuildError> {
        Put::builder()
            .table_name(&self.0.target.table)
            .set_item(Some(item))
            .condition_expression(IS_NEW)
            .set_expression_attribute_names(Some(self.pk_name()))
            .return_values_on_condition_check_failure(ALL_OLD)
            .build()
    }

    fn check(&self, precondition: &Precondition) -> Result<ConditionCheck, BuildError> {
        let check = ConditionCheck::builder()
            .table_name(&self.0.target.table)
            .set_key(Some(self.0.target.sdk_key(&precondition.key)))
            .set_expression_attribute_names(Some(self.pk_name()));
        let Some((append_id, created_at)) = precondition.written_by else { return check.condition_expression(EXISTS).build() };
        check
            .condition_expression(EXISTS_AS_SEEN)
            .expression_attribute_names("#id", names::APPEND_ID)
            .expression_attribute_values(":id", id(append_id))
            .expression_attribute_names("#at", names::CREATED_AT)
            .expression_attribute_values(":at", AttributeValue::N(created_at.to_string()))
            .build()
    }

    fn change(&self, change: &Change) -> Result<TransactWriteItem, BuildError> {
        let target = &self.0.target;
        let part = TransactWriteItem::builder();
        Ok(match change {
            Change::Put(item) => {
                part.put(Put::builder().table_name(&target.table).set_item(Some(target.sdk_item(item))).build()?)
            }
            Change::Delete(key) => {
                part.delete(Delete::builder().table_name(&target.table).set_key(Some(target.sdk_key(key))).build()?)
            }
            Change::Update(key, set) => {
                let expression = UpdateExpression::new(set.iter().map(|(name, value)| (name.as_str(), value.as_ref())));
                part.update(
                    Update::builder()
                        .table_name(&target.table)
                        .set_key(Some(target.sdk_key(key)))
                        .condition_expression(EXISTS)
                        .set_update_expression(expression.text)
                        .set_expression_attribute_names(Some(expression.names))
                        .set_expression_attribute_values(expression.values)
                        .expression_attribute_names("#pk", &target.partition_key)
                        .build()?,
                )
            }
        }
        .build())
    }

    /// Interprets a cancelled transaction. A taken place says more than a failed check: this very append may have taken it.
    async fn cancelled(
        &self,
        mut reasons: Vec<CancellationReason>,
        has_precondition: bool,
        failure: Failure,
        cost: &mut Cost,
    ) -> Result<Created, Fault> {
        let refused = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
        if reasons.first().is_some_and(refused) {
            return self.taken(reasons.swap_remove(0).item, cost);
        }
        match reasons.iter().position(refused) {
            Some(1) if has_precondition => return Ok(Created::NoPrecondition),
            Some(_) => return Ok(Created::NothingToUpdate),
            None => {}
        }
        let telling = reasons.into_iter().find(|reason| reason.code().is_some_and(|code| code != "None"));
        let failure = match telling {
            Some(reason) => failure.because(reason.code().unwrap_or_default(), reason.message().unwrap_or_default()),
            None => failure,
        };
        Err(self.fault(failure, cost).await)
    }

    fn taken(&self, item: Option<SdkItem>, cost: &mut Cost) -> Result<Created, Fault> {
        match item {
            Some(item) => self.read_item(item, cost).map(Created::Taken),
            None => Err(stop(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the service of {} does not return the item that made a write fail \
                     (ReturnValuesOnConditionCheckFailure); use DynamoDB itself, or DynamoDB Local 1.25 or later",
                    self.0.target
                ),
            ))),
        }
    }

    fn read_item(&self, item: SdkItem, cost: &mut Cost) -> Result<Item, Fault> {
        cost.bytes += size::attributes_bytes(&item) as u64;
        self.0.target.item(item).map_err(stop)
    }
}

/// What an update sets and removes, in DynamoDB's syntax.
struct UpdateExpression {
    text: Option<String>,
    names: HashMap<String, String>,
    values: Option<HashMap<String, AttributeValue>>,
}

impl UpdateExpression {
    fn new<'a>(set: impl Iterator<Item = (&'a str, Option<&'a AttributeValue>)>) -> Self {
        let (mut names, mut values) = (HashMap::new(), HashMap::new());
        let (mut sets, mut removes) = (Vec::new(), Vec::new());
        for (place, (name, value)) in set.enumerate() {
            names.insert(format!("#a{place}"), name.to_owned());
            match value {
                Some(value) => {
                    values.insert(format!(":a{place}"), value.clone());
                    sets.push(format!("#a{place} = :a{place}"));
                }
                None => removes.push(format!("#a{place}")),
            }
        }
        let clauses = [("SET", sets), ("REMOVE", removes)];
        let clauses = clauses.into_iter().filter(|(_, parts)| !parts.is_empty());
        let text: Vec<_> = clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect();
        let text = (!text.is_empty()).then(|| text.join(" "));
        Self { text, names, values: (!values.is_empty()).then_some(values) }
    }
}

/// An error after a response was read: the outcome is known, and there is nothing to retry.
pub(super) fn stop(error: Error) -> Fault {
    Fault { error, may_have_landed: false, retry: false }
}

fn id(append_id: AppendId) -> AttributeValue {
    AttributeValue::B(Blob::new(append_id.as_bytes()))
}

/// The maximum size of a page, in bytes. With a projection it is small, whatever the items' size.
fn page_bytes(range: &Range) -> usize {
    match (range.only, range.limit) {
        (Some(_), _) => 0,
        (None, Some(limit)) => MAX_PAGE_BYTES.min(MAX_ITEM_BYTES.saturating_mul(limit as usize)),
        (None, None) => MAX_PAGE_BYTES,
    }
}

pub(super) fn read(cost: &mut Cost, consumed: Option<&ConsumedCapacity>) {
    cost.read_units += consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
}

pub(super) fn wrote(cost: &mut Cost, bytes: usize, consumed: Option<&ConsumedCapacity>) {
    cost.bytes += bytes as u64;
    cost.write_units += consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
}

/// A transaction's units, reported as reads and writes or only as their sum. Ours only write, so the sum counts as writes, as
/// DynamoDB bills it.
fn transacted(cost: &mut Cost, consumed: &ConsumedCapacity) {
    match (consumed.read_capacity_units(), consumed.write_capacity_units()) {
        (None, None) => cost.write_units += consumed.capacity_units().unwrap_or_default(),
        (read, write) => {
            cost.read_units += read.unwrap_or_default();
            cost.write_units += write.unwrap_or_default();
        }
    }
}
