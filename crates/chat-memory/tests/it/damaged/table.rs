//! Damages and restores a table, bypassing the library.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::dynamodb::{Stored, client};

/// A test's own table, and its original items.
pub struct Whole {
    client: Client,
    pub table: String,
    keys: Vec<&'static str>,
    items: HashMap<Vec<String>, Stored>,
}

impl Whole {
    /// Remembers the table as it is.
    pub async fn of(table: String, keys: &[&'static str]) -> Self {
        let mut whole = Self { client: client(), table, keys: keys.to_vec(), items: HashMap::new() };
        whole.items = whole.scan().await;
        whole
    }

    async fn scan(&self) -> HashMap<Vec<String>, Stored> {
        let pages = self.client.scan().table_name(&self.table).consistent_read(true).into_paginator().items().send();
        let items: Vec<Stored> = pages.collect::<Result<_, _>>().await.expect("a scan");
        items.into_iter().map(|item| (self.key_of(&item), item)).collect()
    }

    fn key_of(&self, item: &Stored) -> Vec<String> {
        self.keys.iter().map(|key| item[*key].as_s().expect("a text").clone()).collect()
    }

    /// Returns the original items, sorted by key.
    pub fn items(&self) -> Vec<Stored> {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by(|a, b| a.0.cmp(b.0));
        items.into_iter().map(|(_, item)| item.clone()).collect()
    }

    /// Returns the original item whose sort key has the same start and end as this one; the ids in the middle differ between
    /// tables.
    pub fn like(&self, sort_key: &str) -> Stored {
        let (start, end) = (&sort_key[..2], sort_key.rsplit('#').next().expect("a part"));
        let is_like = |key: &&Vec<String>| key.last().is_some_and(|last| last.starts_with(start) && last.ends_with(end));
        let found = self.items.keys().find(is_like).unwrap_or_else(|| panic!("there is no item like {sort_key}"));
        self.items[found].clone()
    }

    /// Puts an item; returns whether DynamoDB accepts it (it refuses items above 400 KB).
    pub async fn put(&self, item: Stored) -> bool {
        match self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await {
            Ok(_) => true,
            Err(error) if DisplayErrorContext(&error).to_string().contains("Item size has exceeded") => false,
            Err(error) => panic!("a put: {}", DisplayErrorContext(&error)),
        }
    }

    pub async fn delete(&self, item: &Stored) {
        let keys = self.keys.iter().map(|key| ((*key).to_owned(), item[*key].clone())).collect();
        self.client.delete_item().table_name(&self.table).set_key(Some(keys)).send().await.expect("a deletion");
    }

    /// Puts an item with a damaged attribute; returns whether DynamoDB accepts it.
    pub async fn damage(&self, item: &Stored, name: &str, value: Option<AttributeValue>) -> bool {
        let mut damaged = item.clone();
        match value {
            Some(value) => drop(damaged.insert(name.to_owned(), value)),
            None => drop(damaged.remove(name)),
        }
        if damaged == *item {
            return false;
        }
        self.put(damaged).await
    }

    /// Restores the table.
    pub async fn mend(&self) {
        let now = self.scan().await;
        for (key, item) in &now {
            if !self.items.contains_key(key) {
                self.delete(item).await;
            }
        }
        for (key, item) in &self.items {
            if now.get(key) != Some(item) {
                assert!(self.put(item.clone()).await, "the item was there before");
            }
        }
    }
}
