//! How large DynamoDB takes an item to be, by AWS's published rule ("DynamoDB item sizes and formats" in its developer guide).

use aws_sdk_dynamodb::types::AttributeValue;

use super::table::{Attributes, Item};

/// The largest item that DynamoDB takes, in bytes.
pub(crate) const MAX_ITEM: usize = 400 * 1024;

/// Bytes of a write unit.
const WRITE_UNIT: usize = 1024;

/// The keys' names are the user's; a table made here has these many bytes of them, and others differ little.
const KEY_NAMES: usize = super::names::PARTITION_KEY.len() + super::names::SORT_KEY.len();

pub(crate) fn item_size(item: &Item) -> usize {
    KEY_NAMES + item.key.pk.len() + item.key.sk.len() + attributes_size(&item.attributes)
}

pub(crate) fn write_units(bytes: usize) -> usize {
    bytes.div_ceil(WRITE_UNIT).max(1)
}

fn attributes_size(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

pub(crate) fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => digits.trim_start_matches('-').len().div_ceil(2) + 1 + usize::from(digits.starts_with('-')),
        AttributeValue::L(items) => 3 + items.iter().map(|item| 1 + value_size(item)).sum::<usize>(),
        AttributeValue::M(fields) => 3 + fields.iter().map(|(name, field)| 1 + name.len() + value_size(field)).sum::<usize>(),
        AttributeValue::Ss(texts) | AttributeValue::Ns(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| blob.as_ref().len()).sum(),
        _ => 1,
    }
}
