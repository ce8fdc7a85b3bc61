//! Conditions, updates and projections in DynamoDB's syntax.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::{Condition, Update};

/// The names and values that the expressions of a request use. All names use placeholders, since DynamoDB reserves hundreds of words.
#[derive(Default)]
pub(super) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// The placeholder of a name.
    pub(super) fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name).map(|(placeholder, _)| placeholder.clone());
        known.unwrap_or_else(|| {
            let placeholder = format!("#n{}", self.names.len());
            self.names.insert(placeholder.clone(), name.to_owned());
            placeholder
        })
    }

    /// The placeholder of a value.
    pub(super) fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// All of these conditions on an item of a table with this partition key.
    pub(super) fn conditions(&mut self, conditions: &[Condition], partition_key: &str) -> Option<String> {
        let all: Vec<String> = conditions.iter().map(|condition| self.condition(condition, partition_key)).collect();
        (!all.is_empty()).then(|| all.join(" AND "))
    }

    fn condition(&mut self, condition: &Condition, partition_key: &str) -> String {
        match condition {
            Condition::Absent => format!("attribute_not_exists({})", self.name(partition_key)),
            Condition::Exists => format!("attribute_exists({})", self.name(partition_key)),
            Condition::Equals(name, None) => format!("attribute_not_exists({})", self.name(name)),
            Condition::Equals(name, Some(value)) => format!("{} = {}", self.name(name), self.value(value.clone())),
            Condition::Lacks(name, member) => {
                format!("NOT contains({}, {})", self.name(name), self.value(AttributeValue::B(member.clone())))
            }
            Condition::Unexpired(name, now) => {
                let (name, now) = (self.name(name), self.value(crate::common::names::secs(*now)));
                format!("(attribute_not_exists({name}) OR {name} > {now})")
            }
        }
    }

    /// What an update changes; `None` if nothing.
    pub(super) fn update(&mut self, update: &Update) -> Option<String> {
        let (mut sets, mut removes, mut adds) = (Vec::new(), Vec::new(), Vec::new());
        if let Some((name, elements)) = &update.append {
            let (name, empty) = (self.name(name), self.value(AttributeValue::L(Vec::new())));
            let new = self.value(AttributeValue::L(elements.clone()));
            sets.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {new})"));
        }
        for (name, value) in &update.set {
            let name = self.name(name);
            match value {
                Some(value) => sets.push(format!("{name} = {}", self.value(value.clone()))),
                None => removes.push(name),
            }
        }
        if let Some((name, member)) = &update.add {
            adds.push(format!("{} {}", self.name(name), self.value(AttributeValue::Bs(vec![member.clone()]))));
        }
        let clauses = [("SET", sets), ("REMOVE", removes), ("ADD", adds)].into_iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<_> = clauses.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect();
        (!clauses.is_empty()).then(|| clauses.join(" "))
    }

    /// The names by placeholder; `None` if there are none, since DynamoDB refuses an empty map.
    pub(super) fn names(&mut self) -> Option<HashMap<String, String>> {
        Some(std::mem::take(&mut self.names)).filter(|names| !names.is_empty())
    }

    /// The values by placeholder, likewise.
    pub(super) fn values(&mut self) -> Option<HashMap<String, AttributeValue>> {
        Some(std::mem::take(&mut self.values)).filter(|values| !values.is_empty())
    }
}
