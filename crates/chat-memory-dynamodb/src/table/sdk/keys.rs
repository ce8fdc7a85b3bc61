//! A table's key names, and items in the SDK's form, which has the keys among the attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Schema, SdkTable};
use crate::Options;
use crate::common::names;
use crate::table::{Item, Key};
use chat_memory_core::error::Error;

/// An item in the SDK's form, or only its key.
pub(super) type SdkItem = HashMap<String, AttributeValue>;

/// The names of a table's keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) partition: String,
    pub(crate) sort: Option<String>,
}

impl Keys {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        [Some(&self.partition), self.sort.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

impl SdkTable {
    /// The same table with the keys of the `list` layout, which whoever created it named: those in the options, or else its own.
    ///
    /// # Errors
    /// Invalid if its keys differ from those in the options or are not strings.
    pub(crate) fn with_list_keys(&self, options: &Options, schema: Option<Schema>) -> Result<Self, Error> {
        let with = |partition, sort| Self { keys: Keys { partition, sort }, ..self.clone() };
        let Some(schema) = schema else {
            let partition = options.partition_key.clone().unwrap_or_else(|| names::LIST_PARTITION_KEY.to_owned());
            return Ok(with(partition, options.sort_key.clone()));
        };
        let target = self.target();
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
        Ok(with(schema.partition.name, schema.sort.map(|sort| sort.name)))
    }

    /// The key, under the table's names.
    pub(super) fn sdk_key(&self, key: &Key) -> SdkItem {
        let values = [&key.pk, &key.sk].map(|text| AttributeValue::S(text.clone()));
        self.keys.names().map(str::to_owned).zip(values).collect()
    }

    /// The item with its key, under the table's names.
    pub(super) fn sdk_item(&self, Item { key, mut attributes }: Item) -> SdkItem {
        attributes.extend(self.keys.names().map(str::to_owned).zip([key.pk, key.sk].map(AttributeValue::S)));
        attributes
    }

    /// Separates an item's key from its attributes.
    ///
    /// # Errors
    /// Corrupt if a key is missing or not a string.
    pub(crate) fn item(&self, mut attributes: SdkItem) -> Result<Item, Error> {
        let mut take = |name: &str| match attributes.remove(name) {
            Some(AttributeValue::S(key)) => Ok(key),
            Some(_) => Err(Error::corrupt(format!("an item of {} has a key {name:?} that is not a string", self.target()))),
            None => Err(Error::corrupt(format!("an item of {} lacks the key {name:?}", self.target()))),
        };
        let pk = take(&self.keys.partition)?;
        let sk = self.keys.sort.as_deref().map_or(Ok(String::new()), take)?;
        Ok(Item { key: Key { pk, sk }, attributes })
    }
}
