//! Detects from a sample of items how a table's sessions are stored.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::element::{Dialect, form_of_list};
use crate::common::names::{LIST_GENERATION, SEGMENT, VERSION};
use crate::table::Attributes;

/// What a sample of a table's items holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Records, parts or directory entries of the `turns` layout.
    pub(crate) turns: bool,
    /// Sessions of the `list` layout.
    pub(crate) lists: bool,
    /// The attributes that hold lists of messages, each with its dialect.
    pub(crate) attributes: BTreeMap<String, Dialect>,
}

impl Contents {
    /// Inspects these items of a table with this sort key.
    pub(crate) fn of(items: &[Attributes], sort_key: Option<&str>) -> Self {
        let mut contents = Self::default();
        for item in items {
            let sk = match sort_key.and_then(|name| item.get(name)) {
                Some(AttributeValue::S(sk)) => sk.as_str(),
                _ => "",
            };
            if item.contains_key(VERSION) {
                contents.turns |= ["t#", "p#", "d#"].iter().any(|prefix| sk.starts_with(prefix));
                contents.lists |= sk.starts_with(SEGMENT);
                continue;
            }
            for (name, value) in item {
                if let Some(form) = form_of_list(value) {
                    contents.attributes.insert(name.clone(), form);
                }
            }
            contents.lists |= item.contains_key(LIST_GENERATION);
        }
        contents.lists |= !contents.attributes.is_empty();
        contents
    }
}
