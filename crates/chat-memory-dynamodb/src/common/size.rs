//! The size of an item by the rule that DynamoDB bills and limits by ("DynamoDB item sizes and formats" in AWS's developer guide):
//! the UTF-8 bytes of each attribute's name, plus its value.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::names::{PARTITION_KEY, SORT_KEY};
use crate::table::{Attributes, Item, Key};

/// The largest item that DynamoDB accepts, in bytes.
pub(crate) const MAX_ITEM: usize = 400 * 1024;

/// The bytes per write unit.
const WRITE_UNIT: usize = 1024;

/// The bytes of the keys' names in a table created here. Those of other tables differ little.
const KEY_NAMES: usize = PARTITION_KEY.len() + SORT_KEY.len();

/// The overhead of a list or a map, and of each of its elements.
const DOCUMENT: usize = 3;
const ELEMENT: usize = 1;

/// The bytes of these attributes, names included.
pub(crate) fn attributes_bytes(attributes: &Attributes) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

/// The bytes of an item with its keys.
pub(crate) fn item_bytes(Item { key, attributes }: &Item) -> usize {
    keyed_bytes(key, attributes)
}

/// The bytes of the item that has this key and these attributes.
pub(crate) fn keyed_bytes(key: &Key, attributes: &Attributes) -> usize {
    KEY_NAMES + key.pk.len() + key.sk.len() + attributes_bytes(attributes)
}

/// The write units of an item of this size.
pub(crate) fn write_units(bytes: usize) -> usize {
    bytes.div_ceil(WRITE_UNIT).max(1)
}

/// The bytes of an attribute's value, without its name.
pub(crate) fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::N(number) => number_bytes(number),
        AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
        AttributeValue::L(list) => DOCUMENT + list.iter().map(|value| ELEMENT + value_bytes(value)).sum::<usize>(),
        AttributeValue::M(map) => DOCUMENT + map_elements_bytes(map),
        AttributeValue::Ss(set) => set.iter().map(String::len).sum(),
        AttributeValue::Ns(set) => set.iter().map(|number| number_bytes(number)).sum(),
        AttributeValue::Bs(set) => set.iter().map(|blob| blob.as_ref().len()).sum(),
        // A type newer than this version of the SDK, whose size is unknown.
        _ => 0,
    }
}

/// The bytes of a list of these texts.
pub(crate) fn texts_bytes(texts: &[String]) -> usize {
    DOCUMENT + texts.iter().map(|text| ELEMENT + text.len()).sum::<usize>()
}

fn map_elements_bytes(map: &HashMap<String, AttributeValue>) -> usize {
    map.iter().map(|(name, value)| ELEMENT + name.len() + value_bytes(value)).sum()
}

/// AWS says "approximately": one byte, plus one per two significant digits; a negative number takes one more.
fn number_bytes(number: &str) -> usize {
    let (mantissa, _) = number.split_once(['e', 'E']).unwrap_or((number, ""));
    // Zeros at either end are trimmed, on either side of the point.
    let digits = || mantissa.bytes().filter(u8::is_ascii_digit);
    let is_zero = |digit: &u8| *digit == b'0';
    let (all, leading) = (digits().count(), digits().take_while(is_zero).count());
    let significant = if leading == all { 0 } else { all - leading - digits().rev().take_while(is_zero).count() };
    1 + significant.div_ceil(2) + usize::from(number.starts_with('-') && significant > 0)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    #[test]
    fn text_and_binary_sizes_are_byte_counts() {
        assert_eq!(value_bytes(&s("")), 0);
        assert_eq!(value_bytes(&s("日本")), 6);
        assert_eq!(value_bytes(&AttributeValue::B(Blob::new([0; 7]))), 7);
        assert_eq!(value_bytes(&AttributeValue::Bool(false)), 1);
        assert_eq!(value_bytes(&AttributeValue::Null(true)), 1);
    }

    #[test]
    fn number_size_follows_significant_digits() {
        for (number, bytes) in
            [("0", 1), ("7", 2), ("27", 2), ("270", 2), ("-27", 3), ("103", 3), ("1700000000123", 8), ("0.0010", 2), ("1E+30", 2)]
        {
            assert_eq!(number_bytes(number), bytes, "{number}");
        }
    }

    #[test]
    fn lists_and_maps_take_three_bytes_plus_one_per_element() {
        assert_eq!(value_bytes(&AttributeValue::L(Vec::new())), 3);
        assert_eq!(value_bytes(&AttributeValue::L(vec![s("ab"), s("c")])), 3 + 1 + 2 + 1 + 1);
        let map = HashMap::from([("key".to_owned(), s("ab")), ("list".to_owned(), AttributeValue::L(vec![s("c")]))]);
        assert_eq!(value_bytes(&AttributeValue::M(map)), 3 + (1 + 3 + 2) + (1 + 4 + (3 + 1 + 1)));
    }

    #[test]
    fn set_size_is_the_sum_of_its_elements() {
        assert_eq!(value_bytes(&AttributeValue::Ss(vec!["ab".to_owned(), "c".to_owned()])), 3);
        assert_eq!(value_bytes(&AttributeValue::Ns(vec!["12".to_owned(), "3".to_owned()])), 4);
        assert_eq!(value_bytes(&AttributeValue::Bs(vec![Blob::new([1]), Blob::new([2, 3])])), 3);
    }

    #[test]
    fn item_size_includes_attribute_names() {
        let item = HashMap::from([("session_id".to_owned(), s("a")), ("v".to_owned(), AttributeValue::N("1".to_owned()))]);
        assert_eq!(attributes_bytes(&item), 10 + 1 + 1 + 2);
    }
}
