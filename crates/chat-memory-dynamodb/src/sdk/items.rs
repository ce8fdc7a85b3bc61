//! Items as the SDK has them, keys among the attributes, and as the protocol has them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Target;
use crate::table::{Item, Key};
use chat_memory_core::error::Error;

/// A whole item of the SDK's, or only its key.
pub(super) type SdkItem = HashMap<String, AttributeValue>;

impl Target {
    /// A key under the table's names.
    pub(super) fn sdk_key(&self, key: &Key) -> SdkItem {
        HashMap::from([
            (self.partition_key.clone(), AttributeValue::S(key.pk.clone())),
            (self.sort_key.clone(), AttributeValue::S(key.sk.clone())),
        ])
    }

    /// An item with its key under the table's names.
    pub(super) fn sdk_item(&self, item: &Item) -> SdkItem {
        let mut attributes = item.attributes.clone();
        attributes.extend(self.sdk_key(&item.key));
        attributes
    }

    /// The item without its key among the attributes.
    ///
    /// # Errors
    /// Corrupt, when a key is missing or not a string.
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
