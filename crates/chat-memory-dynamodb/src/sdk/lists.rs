//! The requests of the `list` layout's protocol.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::items::SdkItem;
use super::requests::{read, stop, wrote};
use super::{Failure, MAX_ITEM_BYTES, Refused, Schema, SdkTable};
use crate::Options;
use crate::iam::Operation;
use crate::list::{Change, Changed, Dialect, Generation, Guard, ListTable, Share, Slice};
use crate::names::{self, LIST_GENERATION, LIST_IDS};
use crate::size;
use crate::table::{Attributes, Fault, Item, Key};
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

const TOTAL: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;

/// A table with one item per session. Its keys are named by whoever created it.
#[derive(Debug, Clone)]
pub(crate) struct SdkList {
    pub(crate) table: SdkTable,
    pub(crate) partition_key: String,
    pub(crate) sort_key: Option<String>,
}

/// The parts of an update, as they are collected.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    conditions: Vec<String>,
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
}

impl Expression {
    /// The placeholder of a name. All names use placeholders, since DynamoDB reserves hundreds of words.
    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name).map(|(placeholder, _)| placeholder.clone());
        known.unwrap_or_else(|| {
            let placeholder = format!("#n{}", self.names.len());
            self.names.insert(placeholder.clone(), name.to_owned());
            placeholder
        })
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn of(change: &Change, partition_key: &str) -> Self {
        let mut all = Self::default();
        match change.guard {
            Guard::Any => {}
            Guard::Absent => {
                let pk = all.name(partition_key);
                all.conditions.push(format!("attribute_not_exists({pk})"));
            }
            Guard::Ungenerated => {
                let (pk, generation) = (all.name(partition_key), all.name(LIST_GENERATION));
                all.conditions.push(format!("attribute_exists({pk}) AND attribute_not_exists({generation})"));
            }
            Guard::Of(seen) => {
                let generation = all.name(LIST_GENERATION);
                let value = all.value(AttributeValue::B(Blob::new(seen.0)));
                all.conditions.push(format!("{generation} = {value}"));
            }
        }
        if let Some(id) = change.once {
            let ids = all.name(LIST_IDS);
            let value = all.value(AttributeValue::B(Blob::new(id.as_bytes())));
            let set = all.value(AttributeValue::Bs(vec![Blob::new(id.as_bytes())]));
            all.conditions.push(format!("NOT contains({ids}, {value})"));
            all.adds.push(format!("{ids} {set}"));
        }
        if let Some((attribute, now_s)) = &change.alive {
            let name = all.name(attribute);
            let now = all.value(AttributeValue::N(now_s.to_string()));
            all.conditions.push(format!("(attribute_not_exists({name}) OR {name} > {now})"));
        }
        for (attribute, value) in &change.equal {
            let name = all.name(attribute);
            match value {
                None => all.conditions.push(format!("attribute_not_exists({name})")),
                Some(value) => {
                    let value = all.value(value.clone());
                    all.conditions.push(format!("{name} = {value}"));
                }
            }
        }
        if let Some((attribute, elements)) = &change.append {
            let name = all.name(attribute);
            let (empty, new) = (all.value(AttributeValue::L(Vec::new())), all.value(AttributeValue::L(elements.clone())));
            all.sets.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {new})"));
        }
        for (attribute, value) in &change.set {
            let (name, value) = (all.name(attribute), all.value(value.clone()));
            all.sets.push(format!("{name} = {value}"));
        }
        for attribute in &change.remove {
            let name = all.name(attribute);
            all.removes.push(name);
        }
        all
    }

    fn update(&self) -> String {
        let clauses = [("SET", &self.sets), ("REMOVE", &self.removes), ("ADD", &self.adds)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }
}

impl SdkList {
    /// Opens a table of this layout. Its keys are those in the options, or else the table's own.
    ///
    /// # Errors
    /// Invalid if its keys differ from those in the options or are not strings.
    pub(crate) fn open(table: SdkTable, options: &Options, schema: Option<Schema>) -> Result<Self, Error> {
        let Some(schema) = schema else {
            let partition_key = options.partition_key.clone().unwrap_or_else(|| names::LIST_PARTITION_KEY.to_owned());
            let sort_key = options.sort_key.clone();
            return Ok(Self { table, partition_key, sort_key });
        };
        let target = table.target();
        if schema.sort.is_none() && options.sort_value.is_some() {
            return Err(Error::invalid(format!("{target} has no sort key; leave sort_value out of the store URL")));
        }
        if let Some(key) = [Some(&schema.partition), schema.sort.as_ref()].into_iter().flatten().find(|key| key.kind != "S") {
            return Err(Error::invalid(format!(
                "{target} has the key {key}, and sessions need keys of the type S, strings; give another table"
            )));
        }
        for (given, own, setting) in [
            (&options.partition_key, Some(&schema.partition), "partition_key"),
            (&options.sort_key, schema.sort.as_ref(), "sort_key"),
        ] {
            if let (Some(given), Some(own)) = (given, own)
                && *given != own.name
            {
                return Err(Error::invalid(format!(
                    "{target} has the key {:?}, but {given:?} was given; give {setting}={} in the store URL, or leave it out",
                    own.name, own.name
                )));
            }
        }
        Ok(Self { table, partition_key: schema.partition.name, sort_key: schema.sort.map(|sort| sort.name) })
    }

    /// The dialect of a new session, if the keys' names imply it: LangChain Python's and LangChain.js's own names differ.
    pub(crate) fn usual_dialect(&self) -> Option<Dialect> {
        let mut keys = [Some(&self.partition_key), self.sort_key.as_ref()].into_iter().flatten();
        if keys.any(|name| name == names::LIST_PYTHON_KEY) {
            return Some(Dialect::Python);
        }
        (self.partition_key == names::LIST_PARTITION_KEY).then_some(Dialect::Js)
    }

    /// Tests an operation on the item with this key; changes nothing. `Ok` if the credentials allow it.
    pub(crate) async fn probe(&self, operation: Operation, key: &Key, cost: &mut Cost) -> Result<(), Failure> {
        self.table.probe_key(operation, self.sdk_key(key), &self.partition_key, cost).await
    }

    fn sdk_key(&self, key: &Key) -> SdkItem {
        let mut sdk = SdkItem::from([(self.partition_key.clone(), AttributeValue::S(key.pk.clone()))]);
        if let Some(sort_key) = &self.sort_key {
            sdk.insert(sort_key.clone(), AttributeValue::S(key.sk.clone()));
        }
        sdk
    }

    /// An item's attributes, without its keys.
    fn attributes(&self, mut item: SdkItem, cost: &mut Cost) -> Attributes {
        cost.bytes += size::attributes_bytes(&item) as u64;
        item.remove(&self.partition_key);
        if let Some(sort_key) = &self.sort_key {
            item.remove(sort_key);
        }
        item
    }

    fn key_of(&self, item: &SdkItem) -> Result<Key, Fault> {
        let text = |name: &str| match item.get(name) {
            Some(AttributeValue::S(text)) => Ok(text.clone()),
            _ => Err(stop(Error::corrupt(format!(
                "an item of {} has a key {name:?} that is not a string, but session ids are strings",
                self.table.target()
            )))),
        };
        let sk = self.sort_key.as_deref().map_or(Ok(String::new()), text)?;
        Ok(Key { pk: text(&self.partition_key)?, sk })
    }
}

#[async_trait]
impl ListTable for SdkList {
    async fn read(&self, key: &Key, eventual: bool, cost: &mut Cost) -> Result<Option<Attributes>, Fault> {
        let inner = &self.table.0;
        let request = inner.client.get_item().table_name(&inner.target.table).return_consumed_capacity(TOTAL);
        let request = request.set_key(Some(self.sdk_key(key))).consistent_read(!eventual);
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::GetItem, MAX_ITEM_BYTES, cost, send).await {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                Ok(answer.item.map(|item| self.attributes(item, cost)))
            }
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn change(&self, change: &Change, cost: &mut Cost) -> Result<Changed, Fault> {
        let inner = &self.table.0;
        let all = Expression::of(change, &self.partition_key);
        let request = inner
            .client
            .update_item()
            .table_name(&inner.target.table)
            .set_key(Some(self.sdk_key(&change.key)))
            .update_expression(all.update())
            .set_condition_expression((!all.conditions.is_empty()).then(|| all.conditions.join(" AND ")))
            .set_expression_attribute_names(Some(all.names))
            .set_expression_attribute_values(Some(all.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(TOTAL);
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::UpdateItem, MAX_ITEM_BYTES, cost, send).await {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                wrote(cost, 0, answer.consumed_capacity.as_ref());
                Ok(Changed::Done(self.attributes(item, cost)))
            }
            Err(Refused { answer: Some(UpdateItemError::ConditionalCheckFailedException(why)), .. }) => {
                Ok(Changed::Refused(why.item.map(|item| self.attributes(item, cost))))
            }
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn store(&self, item: &Item, cost: &mut Cost) -> Result<(), Fault> {
        let inner = &self.table.0;
        let mut sdk = item.attributes.clone();
        sdk.extend(self.sdk_key(&item.key));
        let bytes = size::attributes_bytes(&sdk);
        let request = inner.client.put_item().table_name(&inner.target.table).set_item(Some(sdk));
        let request = request.return_consumed_capacity(TOTAL);
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::PutItem, bytes, cost, send).await {
            Ok(answer) => {
                wrote(cost, bytes, answer.consumed_capacity());
                Ok(())
            }
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn discard(&self, key: &Key, cost: &mut Cost) -> Result<(), Fault> {
        let inner = &self.table.0;
        let request = inner.client.delete_item().table_name(&inner.target.table).return_consumed_capacity(TOTAL);
        let request = request.set_key(Some(self.sdk_key(key)));
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::DeleteItem, 0, cost, send).await {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity());
                Ok(())
            }
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn slice(
        &self,
        share: Share,
        only: &[&str],
        lists: &[&str],
        after: Option<&Key>,
        cost: &mut Cost,
    ) -> Result<Slice, Fault> {
        let inner = &self.table.0;
        let mut all = Expression::default();
        let keys = [Some(self.partition_key.as_str()), self.sort_key.as_deref()];
        let projection: Vec<String> = keys
            .into_iter()
            .flatten()
            .chain(only.iter().copied().filter(|name| !lists.contains(name)))
            .map(|name| all.name(name))
            .collect();
        let mut projection = projection;
        let (mut filter, mut absent) = (Vec::new(), Vec::new());
        for list in lists {
            let (name, kind, none) = (all.name(list), all.name("type"), all.value(AttributeValue::N("0".to_owned())));
            // Enough to see that the list exists.
            projection.push(format!("{name}[0].{kind}"));
            filter.push(format!("size({name}) > {none}"));
            absent.push(format!("attribute_not_exists({name})"));
        }
        if !absent.is_empty() {
            filter.push(format!("({})", absent.join(" AND ")));
        }
        let request = inner
            .client
            .scan()
            .table_name(&inner.target.table)
            .projection_expression(projection.join(", "))
            .set_filter_expression((!filter.is_empty()).then(|| filter.join(" OR ")))
            .set_expression_attribute_names(Some(all.names))
            .set_expression_attribute_values((!all.values.is_empty()).then_some(all.values))
            .set_exclusive_start_key(after.map(|key| self.sdk_key(key)))
            .set_segment(i32::try_from(share.number).ok())
            .set_total_segments(i32::try_from(share.of).ok())
            .return_consumed_capacity(TOTAL);
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::Scan, 0, cost, send).await {
            Ok(answer) => {
                read(cost, answer.consumed_capacity());
                let items = answer.items.unwrap_or_default().into_iter().map(|item| {
                    let key = self.key_of(&item)?;
                    Ok(Item { key, attributes: self.attributes(item, cost) })
                });
                let items = items.collect::<Result<_, Fault>>()?;
                let after = answer.last_evaluated_key.map(|key| self.key_of(&key)).transpose()?;
                Ok(Slice { items, after })
            }
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn sample(&self, cost: &mut Cost) -> Result<Vec<Item>, Fault> {
        match self.table.sample(cost).await {
            Ok(items) => {
                let items = items.into_iter().map(|item| {
                    let key = self.key_of(&item)?;
                    Ok(Item { key, attributes: self.attributes(item, cost) })
                });
                items.collect()
            }
            Err(failure) => Err(self.table.fault(failure, cost).await),
        }
    }

    async fn discard_if(
        &self,
        key: &Key,
        generation: Generation,
        equal: &[(String, Option<AttributeValue>)],
        cost: &mut Cost,
    ) -> Result<bool, Fault> {
        let inner = &self.table.0;
        let change = Change { guard: Guard::Of(generation), equal: equal.to_vec(), ..Change::default() };
        let all = Expression::of(&change, &self.partition_key);
        let request = inner.client.delete_item().table_name(&inner.target.table).return_consumed_capacity(TOTAL);
        let request = request
            .set_key(Some(self.sdk_key(key)))
            .condition_expression(all.conditions.join(" AND "))
            .set_expression_attribute_names(Some(all.names))
            .set_expression_attribute_values(Some(all.values));
        let send = |trace| request.customize().interceptor(trace).send();
        match self.table.call(Operation::DeleteItem, 0, cost, send).await {
            Ok(answer) => {
                wrote(cost, 0, answer.consumed_capacity());
                Ok(true)
            }
            Err(Refused { answer: Some(DeleteItemError::ConditionalCheckFailedException(_)), .. }) => Ok(false),
            Err(refused) => Err(self.table.fault(refused.failure, cost).await),
        }
    }

    async fn purges_by(&self, cost: &mut Cost) -> Result<Option<String>, Fault> {
        self.table.purging_attribute(cost).await
    }

    async fn try_out(&self, operation: Operation, key: &Key, cost: &mut Cost) -> Result<(), Fault> {
        match self.probe(operation, key, cost).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.table.fault(failure, cost).await),
        }
    }
}
