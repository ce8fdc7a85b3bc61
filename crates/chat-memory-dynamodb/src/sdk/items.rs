//! Converts items between the SDK's form, with keys among the attributes, and the protocol's.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Target;
use crate::table::{Item, Key};
use chat_memory_core::error::Error;

/// An item in the SDK's form, or only its key.
pub(super) type SdkItem = HashMap<String, AttributeValue>;

impl Target {
    /// The key, under the table's names.
    pub(super) fn sdk_key(&self, key: &Key) -> SdkItem {
        HashMap::from([
            (self.partition_key.clone(), AttributeValue::S(key.pk.clone())),
            (self.sort_key.clone(), AttributeValue::S(key.sk.clone())),
        ])
    }

    /// The item with its key, under the table's names.
    pub(super) fn sdk_item(&self, item: &Item) -> SdkItem {
        let mut attributes = item.attributes.clone();
        attributes.extend(self.sdk_key(&item.key));
        attributes
    }

    /// Separates an item's key from its attributes.
    ///
    /// # Errors
    /// Corrupt if a key is missing or not a string.
    pub(crate) fn item(&self, mut attributes: SdkItem) -> Result<Item, Error> {
        let pk = self.take_key(&mut attributes, &self.partition_key)?;
        let sk = self.take_key(&mut attributes, &self.sort_key)?;
        Ok(Item { key: Key { pk, sk }, attributes })
    }

    fn take_key(&self, attributes: &mut SdkItem, name: &str) -> Result<String, Error> {
        match attributes.remove(name) {
            Some(AttributeValue::S(key)) => Ok(key),
            Some(_) => Err(Error::corrupt(format!("an item of {self} has a key {name:?} that is not a string"))),
            None => Err(Error::corrupt(format!("an item of {self} lacks the key {name:?}"))),
        }
    }
}
