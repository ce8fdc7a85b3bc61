//! The requests about the table itself.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoveryStatus, ScalarAttributeType,
    TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};

use super::failure::Cause;
use super::{Failure, Refused, Schema, SdkTable};
use crate::common::names;
use crate::iam::Operation;
use crate::table::Fault;
use chat_memory_core::error::Error;
use chat_memory_core::store::Cost;

/// A table's description, as DynamoDB reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// The table's ARN.
    pub arn: String,
    /// Its keys.
    pub schema: Schema,
    /// Whether it accepts requests. It does not for some seconds after it was created.
    pub usable: bool,
    /// The regions of its replicas, if it is a global table.
    pub replicas: Vec<String>,
    /// Whether deletion protection is on.
    pub deletion_protection: bool,
    /// The number of items, which DynamoDB counts about every six hours.
    pub items: u64,
    /// Its size in bytes, counted as often.
    pub bytes: u64,
}

impl Description {
    fn of(table: &TableDescription) -> Option<Self> {
        Some(Self {
            arn: table.table_arn().unwrap_or_default().to_owned(),
            schema: Schema::of(table)?,
            // A table that is being changed still accepts requests.
            usable: matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating)),
            replicas: table.replicas().iter().filter_map(|replica| replica.region_name().map(str::to_owned)).collect(),
            deletion_protection: table.deletion_protection_enabled().unwrap_or_default(),
            items: table.item_count().and_then(|items| u64::try_from(items).ok()).unwrap_or_default(),
            bytes: table.table_size_bytes().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        })
    }
}

impl SdkTable {
    /// Describes the table.
    pub(crate) async fn describe(&self, cost: &mut Cost) -> Result<Description, Failure> {
        let request = self.inner.client.describe_table().table_name(&self.inner.target.table);
        let operation = Operation::DescribeTable;
        let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        let table = answer.map_err(|refused| refused.failure)?.table;
        table.as_ref().and_then(Description::of).ok_or_else(|| Failure {
            operation,
            sent: true,
            cause: Cause::Unreadable { status: 200, why: "it describes no table with a key".to_owned() },
        })
    }

    /// The table's keys, requested once.
    pub(crate) async fn schema(&self, cost: &mut Cost) -> Result<Schema, Failure> {
        let asked = self.inner.schema.get_or_try_init(|| async { self.describe(cost).await.map(|table| table.schema) });
        asked.await.cloned()
    }

    /// The attribute whose time (epoch seconds) makes DynamoDB purge items; `None` if TTL is off.
    pub(crate) async fn time_to_live(&self, cost: &mut Cost) -> Result<Option<String>, Failure> {
        let request = self.inner.client.describe_time_to_live().table_name(&self.inner.target.table);
        let answer = self
            .call(Operation::DescribeTimeToLive, 0, cost, |trace| request.customize().interceptor(trace).send())
            .await
            .map_err(|refused| refused.failure)?;
        let ttl = answer.time_to_live_description;
        // ENABLING takes up to an hour; items written meanwhile are purged afterwards.
        let on =
            ttl.filter(|ttl| matches!(ttl.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)));
        Ok(on.and_then(|ttl| ttl.attribute_name))
    }

    /// The attribute by which the table purges, requested once in the lifetime of this value; `None` if TTL is off, so that records
    /// expire (are hidden) but are never purged.
    ///
    /// # Errors
    /// Invalid if the attribute is one of these or a key, since then it has another meaning.
    pub(super) async fn purging_attribute(&self, taken: &[&str], cost: &mut Cost) -> Result<Option<String>, Fault> {
        let asked = self.inner.ttl_attribute.get_or_try_init(|| self.time_to_live(cost)).await;
        let attribute = match asked {
            Ok(attribute) => attribute.clone(),
            Err(failure) => return Err(failure.into_fault(&self.inner.target, None)),
        };
        match attribute.as_deref().filter(|name| self.is_taken(name, taken)) {
            Some(name) => {
                let error = Error::invalid(format!("{} has the TTL attribute {name:?}, {TTL_TAKEN}", self.inner.target));
                Err(Fault { error, may_have_landed: false, retry: false })
            }
            None => Ok(attribute),
        }
    }

    /// Whether an attribute of this name cannot be the TTL attribute, since it is one of these or a key.
    pub(crate) fn is_taken(&self, name: &str, taken: &[&str]) -> bool {
        self.keys.names().any(|key| key == name) || (name != names::TTL && taken.contains(&name))
    }

    /// Creates the table: billed on demand, with string keys. Returns whether it was created now (otherwise a table of this name
    /// exists).
    pub(crate) async fn create_table(
        &self,
        partition_key: &str,
        sort_key: Option<&str>,
        cost: &mut Cost,
    ) -> Result<bool, Failure> {
        let target = &self.inner.target;
        let mut request = self.inner.client.create_table().table_name(&target.table).billing_mode(BillingMode::PayPerRequest);
        let sort_key = sort_key.map(|name| (name, KeyType::Range));
        for (name, key) in [(partition_key, KeyType::Hash)].into_iter().chain(sort_key) {
            let (definition, element) = key_attribute(name, key).map_err(|unbuilt| unsent(Operation::CreateTable, &unbuilt))?;
            request = request.attribute_definitions(definition).key_schema(element);
        }
        let answer = self.call(Operation::CreateTable, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        match answer {
            Ok(_) => Ok(true),
            Err(Refused { answer: Some(CreateTableError::ResourceInUseException(_)), .. }) => Ok(false),
            Err(refused) => Err(refused.failure),
        }
    }

    /// Turns TTL on for this attribute.
    pub(crate) async fn enable_ttl(&self, attribute: &str, cost: &mut Cost) -> Result<(), Failure> {
        let operation = Operation::UpdateTimeToLive;
        let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build();
        let specification = specification.map_err(|unbuilt| unsent(operation, &unbuilt))?;
        let request = self.inner.client.update_time_to_live().table_name(&self.inner.target.table);
        let request = request.time_to_live_specification(specification);
        let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        answer.map(drop).map_err(|refused| refused.failure)
    }

    /// Whether the table can be restored to any second of the last few weeks.
    pub(crate) async fn point_in_time_recovery(&self, cost: &mut Cost) -> Result<bool, Failure> {
        let request = self.inner.client.describe_continuous_backups().table_name(&self.inner.target.table);
        let operation = Operation::DescribeContinuousBackups;
        let answer = self.call(operation, 0, cost, |trace| request.customize().interceptor(trace).send()).await;
        let backups = answer.map_err(|refused| refused.failure)?.continuous_backups_description;
        let status = backups.and_then(|backups| backups.point_in_time_recovery_description);
        Ok(status.and_then(|status| status.point_in_time_recovery_status) == Some(PointInTimeRecoveryStatus::Enabled))
    }
}

/// Why a TTL attribute with another meaning cannot be used, and the remedy. Continues "the TTL attribute x, ".
pub(crate) const TTL_TAKEN: &str = "which has another meaning in records; turn TTL off, and on again with the attribute `ttl`";

fn key_attribute(name: &str, key: KeyType) -> Result<(AttributeDefinition, KeySchemaElement), BuildError> {
    let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()?;
    Ok((definition, KeySchemaElement::builder().attribute_name(name).key_type(key).build()?))
}

pub(super) fn unsent(operation: Operation, why: &BuildError) -> Failure {
    Failure { operation, sent: false, cause: Cause::NotSent(why.to_string()) }
}
