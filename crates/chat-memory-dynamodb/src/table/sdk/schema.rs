//! A table's keys, and whether the `turns` layout fits them.

use std::fmt;

use aws_sdk_dynamodb::types::{KeyType, TableDescription};

/// One key attribute of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Its name.
    pub name: String,
    /// Its type in DynamoDB's notation: `S`, `N` or `B`.
    pub kind: String,
}

impl fmt::Display for KeyAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.name, self.kind)
    }
}

/// The keys of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key, if there is one.
    pub sort: Option<KeyAttribute>,
}

/// Why a table does not fit, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Continues a sentence that starts with the table.
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Schema {
    /// The keys in a table's description; `None` if it has no partition key.
    pub(super) fn of(description: &TableDescription) -> Option<Self> {
        let attribute = |key: KeyType| {
            let name = description.key_schema().iter().find(|element| *element.key_type() == key)?.attribute_name();
            let kind = description.attribute_definitions().iter().find(|definition| definition.attribute_name() == name)?;
            Some(KeyAttribute { name: name.to_owned(), kind: kind.attribute_type().as_str().to_owned() })
        };
        Some(Self { partition: attribute(KeyType::Hash)?, sort: attribute(KeyType::Range) })
    }

    /// How these keys differ from the expected ones: two strings with these names.
    pub(crate) fn misfit(&self, partition_key: &str, sort_key: &str) -> Option<Misfit> {
        let partition = &self.partition;
        let Some(sort) = &self.sort else {
            return Some(Misfit {
                what: format!(
                    "has the partition key {partition} and no sort key: the `list` layout of Flowise and LangChain, one item \
                     per session"
                ),
                remedy: "leave layout=turns out of the store URL to use it as it is, or give a table with a partition key and a \
                         sort key (`chat-memory table create` makes one)"
                    .to_owned(),
            });
        };
        if let Some(key) = [partition, sort].into_iter().find(|key| key.kind != "S") {
            return Some(Misfit {
                what: format!("has the key {key}, and sessions need two keys of the type S, strings"),
                remedy: "give another table (`chat-memory table create` makes one)".to_owned(),
            });
        }
        if (partition.name.as_str(), sort.name.as_str()) != (partition_key, sort_key) {
            return Some(Misfit {
                what: format!(
                    "has the keys {:?} and {:?}, but {partition_key:?} and {sort_key:?} were expected",
                    partition.name, sort.name
                ),
                remedy: format!(
                    "give partition_key={} and sort_key={} in the store URL, or layout=list where LangChain or Flowise is to use the table too",
                    partition.name, sort.name
                ),
            });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, kind: &str) -> KeyAttribute {
        KeyAttribute { name: name.to_owned(), kind: kind.to_owned() }
    }

    fn misfit(partition: KeyAttribute, sort: Option<KeyAttribute>) -> Option<String> {
        let misfit = Schema { partition, sort }.misfit("session_id", "sk")?;
        Some(format!("{}; {}", misfit.what, misfit.remedy))
    }

    #[test]
    fn schema_mismatch_names_the_remedy() {
        assert_eq!(misfit(key("session_id", "S"), Some(key("sk", "S"))), None);
        let list = misfit(key("id", "S"), None).expect("a misfit");
        assert!(list.contains("\"id\" (S) and no sort key: the `list` layout"), "{list}");
        let number = misfit(key("session_id", "S"), Some(key("sk", "N"))).expect("a misfit");
        assert!(number.contains("the key \"sk\" (N)"), "{number}");
        let names = misfit(key("pk", "S"), Some(key("range", "S"))).expect("a misfit");
        assert!(names.contains("partition_key=pk and sort_key=range"), "{names}");
    }
}
