//! The requests of the protocols.

use async_trait::async_trait;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, ConsumedCapacity, Delete, Put, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update as UpdatePart,
};

use super::control::unsent;
use super::expression::Expression;
use super::keys::SdkItem;
use super::{Failure, MAX_ITEM_BYTES, MAX_PAGE_BYTES, Refused, SdkTable};
use crate::common::size;
use crate::iam::Operation;
use crate::table::{Change, Condition, Created, Fault, Item, Key, NewItem, Page, Range, Scan, ScanPage, Table, Update, Updated};
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

const TOTAL: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;
const ALL_OLD: ReturnValuesOnConditionCheckFailure = ReturnValuesOnConditionCheckFailure::AllOld;

#[async_trait]
impl Table for SdkTable {
    async fn get(&self, key: &Key, eventual: bool, cost: &mut Cost) -> Result<Option<Item>, Fault> {
        let request = self.inner.client.get_item().table_name(&self.inner.target.table).return_consumed_capacity(TOTAL);
        let request = request.set_key(Some(self.sdk_key(key))).consistent_read(!eventual);
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
        let mut all = Expression::default();
        let text = |text: &String| AttributeValue::S(text.clone());
        let mut condition = format!("{} = {}", all.name(&self.keys.partition), all.value(text(&range.pk)));
        if let Some(sort_key) = &self.keys.sort {
            let (sk, from, to) = (all.name(sort_key), all.value(text(&range.from)), all.value(text(&range.to)));
            condition += &format!(" AND {sk} BETWEEN {from} AND {to}");
        }
        let request = self
            .inner
            .client
            .query()
            .table_name(&self.inner.target.table)
            .key_condition_expression(condition)
            .set_projection_expression(range.only.map(|only| self.projection(&mut all, only)))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .set_exclusive_start_key(after.map(|sk| self.sdk_key(&Key { pk: range.pk.clone(), sk: sk.to_owned() })))
            .scan_index_forward(!range.newest_first)
            .consistent_read(!range.eventual)
            .set_limit(range.limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
            .return_consumed_capacity(TOTAL);
        let answer =
            self.call(Operation::Query, page_bytes(range), cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                let items = answer.items.unwrap_or_default().into_iter().map(|item| self.read_item(item, cost));
                let items = items.collect::<Result<_, Fault>>()?;
                let after = answer.last_evaluated_key.map(|key| self.item(key).map_err(stop)).transpose()?;
                Ok(Page { items, after: after.map(|last| last.key.sk) })
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn scan(&self, scan: &Scan<'_>, after: Option<&Key>, cost: &mut Cost) -> Result<ScanPage, Fault> {
        match self.scan_once(scan, after, cost).await {
            Ok(answer) => {
                let items = answer.items.unwrap_or_default().into_iter().map(|item| self.read_item(item, cost));
                let items = items.collect::<Result<_, Fault>>()?;
                let after = answer.last_evaluated_key.map(|key| self.item(key).map_err(stop)).transpose()?;
                Ok(ScanPage { items, after: after.map(|last| last.key) })
            }
            Err(failure) => Err(self.fault(failure, cost).await),
        }
    }

    async fn put(&self, item: &Item, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault> {
        self.put_item(item.clone(), conditions, None, cost).await.map(|put| put.is_ok())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition], cost: &mut Cost) -> Result<bool, Fault> {
        let mut all = Expression::default();
        let request = self
            .inner
            .client
            .delete_item()
            .table_name(&self.inner.target.table)
            .set_key(Some(self.sdk_key(key)))
            .set_condition_expression(all.conditions(conditions, &self.keys.partition))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .return_consumed_capacity(TOTAL);
        let answer = self.call(Operation::DeleteItem, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity());
                Ok(true)
            }
            Err(Refused { answer: Some(DeleteItemError::ConditionalCheckFailedException(_)), .. }) => Ok(false),
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn update(&self, update: &Update, cost: &mut Cost) -> Result<Updated, Fault> {
        let mut all = Expression::default();
        let request = self
            .inner
            .client
            .update_item()
            .table_name(&self.inner.target.table)
            .set_key(Some(self.sdk_key(&update.key)))
            .set_update_expression(all.update(update))
            .set_condition_expression(all.conditions(&update.conditions, &self.keys.partition))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ALL_OLD)
            .return_consumed_capacity(TOTAL);
        let answer =
            self.call(Operation::UpdateItem, MAX_ITEM_BYTES, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity.as_ref());
                // The write is done. An unreadable item is detected by whoever reads it next.
                self.read_item(answer.attributes.unwrap_or_default(), cost).map(Updated::Done)
            }
            Err(Refused { answer: Some(UpdateItemError::ConditionalCheckFailedException(old)), .. }) => {
                old.item.map(|item| self.read_item(item, cost)).transpose().map(Updated::Refused)
            }
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn create(&self, new: NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        if new.precondition.is_some() || !new.changes.is_empty() {
            return self.create_in_transaction(new, cost).await;
        }
        match self.put_item(new.item, &[Condition::Absent], Some(ALL_OLD), cost).await? {
            Ok(()) => Ok(Created::Done),
            Err(old) => self.taken(old, cost),
        }
    }

    async fn ttl_attribute(&self, taken: &[&str], cost: &mut Cost) -> Result<Option<String>, Fault> {
        self.purging_attribute(taken, cost).await
    }

    fn lacks_sort_key(&self) -> bool {
        self.known_schema().is_some_and(|schema| schema.sort.is_none())
    }
}

impl SdkTable {
    /// Reads a sample of the table's items, whole and unchanged.
    pub(crate) async fn sample(&self, cost: &mut Cost) -> Result<Vec<SdkItem>, Failure> {
        self.scan_once(&Scan::sample(), None, cost).await.map(|answer| answer.items.unwrap_or_default())
    }

    async fn scan_once(&self, scan: &Scan<'_>, after: Option<&Key>, cost: &mut Cost) -> Result<ScanOutput, Failure> {
        let mut all = Expression::default();
        let mut projection = scan.only.map(|only| {
            let only: Vec<&str> = only.iter().copied().filter(|name| !scan.lists.contains(name)).collect();
            vec![self.projection(&mut all, &only)]
        });
        let (mut filter, mut absent) = (Vec::new(), Vec::new());
        for list in scan.lists {
            let (name, none) = (all.name(list), all.value(AttributeValue::N("0".to_owned())));
            let elements = (0..scan.elements).map(|place| format!("{name}[{place}]"));
            projection.iter_mut().for_each(|parts| parts.extend(elements.clone()));
            filter.push(format!("size({name}) > {none}"));
            absent.push(format!("attribute_not_exists({name})"));
        }
        if !absent.is_empty() {
            filter.push(format!("({})", absent.join(" AND ")));
        }
        let share = |number: u32| i32::try_from(number).ok();
        let request = self
            .inner
            .client
            .scan()
            .table_name(&self.inner.target.table)
            .set_projection_expression(projection.map(|parts| parts.join(", ")))
            .set_filter_expression((!filter.is_empty()).then(|| filter.join(" OR ")))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .set_exclusive_start_key(after.map(|key| self.sdk_key(key)))
            .set_segment(scan.share.and_then(|(number, _)| share(number)))
            .set_total_segments(scan.share.and_then(|(_, of)| share(of)))
            .set_limit(scan.limit.and_then(|limit| i32::try_from(limit).ok()))
            .consistent_read(!scan.eventual)
            .return_consumed_capacity(TOTAL);
        let answer = self.call(Operation::Scan, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        let answer = answer.map_err(|refused| refused.failure)?;
        read(cost, answer.consumed_capacity());
        Ok(answer)
    }

    /// A projection of the keys and these attributes.
    fn projection(&self, all: &mut Expression, only: &[&str]) -> String {
        self.keys.names().chain(only.iter().copied()).map(|name| all.name(name)).collect::<Vec<_>>().join(", ")
    }

    /// Puts an item. If a condition does not hold, the inner error is the existing item, as far as it was to be returned.
    async fn put_item(
        &self,
        item: Item,
        conditions: &[Condition],
        returned: Option<ReturnValuesOnConditionCheckFailure>,
        cost: &mut Cost,
    ) -> Result<Result<(), Option<SdkItem>>, Fault> {
        let item = self.sdk_item(item);
        let bytes = size::attributes_bytes(&item);
        let mut all = Expression::default();
        let request = self
            .inner
            .client
            .put_item()
            .table_name(&self.inner.target.table)
            .set_item(Some(item))
            .set_condition_expression(all.conditions(conditions, &self.keys.partition))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .set_return_values_on_condition_check_failure(returned)
            .return_consumed_capacity(TOTAL);
        let answer = self.call(Operation::PutItem, bytes, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                wrote(cost, bytes, answer.consumed_capacity());
                Ok(Ok(()))
            }
            Err(Refused { answer: Some(PutItemError::ConditionalCheckFailedException(failed)), .. }) => Ok(Err(failed.item)),
            Err(refused) => Err(self.fault(refused.failure, cost).await),
        }
    }

    async fn create_in_transaction(&self, new: NewItem, cost: &mut Cost) -> Result<Created, Fault> {
        let item = self.sdk_item(new.item);
        let bytes = size::attributes_bytes(&item);
        let unsent = |unbuilt| unsent(Operation::TransactWriteItems, &unbuilt).into_fault(&self.inner.target, None);
        let mut parts = vec![TransactWriteItem::builder().put(self.put_new(item).map_err(unsent)?).build()];
        if let Some((key, conditions)) = &new.precondition {
            parts.push(TransactWriteItem::builder().condition_check(self.check(key, conditions).map_err(unsent)?).build());
        }
        let others = new.changes.iter().map(|change| if let Change::Put(item) = change { size::item_bytes(item) } else { 0 });
        let sent = bytes + others.sum::<usize>();
        for change in new.changes {
            parts.push(self.change(change).map_err(unsent)?);
        }
        // `cancelled` reads the reasons in this order: the item, its precondition, the changes.
        let request = self.inner.client.transact_write_items().set_transact_items(Some(parts)).return_consumed_capacity(TOTAL);
        let answer =
            self.call(Operation::TransactWriteItems, sent, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(answer) => {
                cost.bytes += bytes as u64;
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

    fn put_new(&self, item: SdkItem) -> Result<Put, BuildError> {
        let mut all = Expression::default();
        Put::builder()
            .table_name(&self.inner.target.table)
            .set_item(Some(item))
            .set_condition_expression(all.conditions(&[Condition::Absent], &self.keys.partition))
            .set_expression_attribute_names(all.names())
            .return_values_on_condition_check_failure(ALL_OLD)
            .build()
    }

    fn check(&self, key: &Key, conditions: &[Condition]) -> Result<ConditionCheck, BuildError> {
        let mut all = Expression::default();
        ConditionCheck::builder()
            .table_name(&self.inner.target.table)
            .set_key(Some(self.sdk_key(key)))
            .set_condition_expression(all.conditions(conditions, &self.keys.partition))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .build()
    }

    fn change(&self, change: Change) -> Result<TransactWriteItem, BuildError> {
        let (part, table) = (TransactWriteItem::builder(), &self.inner.target.table);
        Ok(match change {
            Change::Put(item) => part.put(Put::builder().table_name(table).set_item(Some(self.sdk_item(item))).build()?),
            Change::Delete(key) => part.delete(Delete::builder().table_name(table).set_key(Some(self.sdk_key(&key))).build()?),
            Change::Update(update) => {
                let mut all = Expression::default();
                part.update(
                    UpdatePart::builder()
                        .table_name(table)
                        .set_key(Some(self.sdk_key(&update.key)))
                        .set_update_expression(all.update(&update))
                        .set_condition_expression(all.conditions(&update.conditions, &self.keys.partition))
                        .set_expression_attribute_names(all.names())
                        .set_expression_attribute_values(all.values())
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
                    self.inner.target
                ),
            ))),
        }
    }

    fn read_item(&self, item: SdkItem, cost: &mut Cost) -> Result<Item, Fault> {
        cost.bytes += size::attributes_bytes(&item) as u64;
        self.item(item).map_err(stop)
    }
}

/// An error after a response was read: the outcome is known, and there is nothing to retry.
fn stop(error: Error) -> Fault {
    Fault { error, may_have_landed: false, retry: false }
}

/// The maximum size of a page, in bytes. With a projection it is small, whatever the items' size.
fn page_bytes(range: &Range) -> usize {
    match (range.only, range.limit) {
        (Some(_), _) => 0,
        (None, Some(limit)) => MAX_PAGE_BYTES.min(MAX_ITEM_BYTES.saturating_mul(limit as usize)),
        (None, None) => MAX_PAGE_BYTES,
    }
}

fn read(cost: &mut Cost, consumed: Option<&ConsumedCapacity>) {
    cost.read_units += consumed.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
}

fn wrote(cost: &mut Cost, bytes: usize, consumed: Option<&ConsumedCapacity>) {
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
