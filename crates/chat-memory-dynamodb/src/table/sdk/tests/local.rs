//! Tests each request on DynamoDB Local.

use std::collections::BTreeSet;

use crate::Options;
use crate::admin::Admin;
use crate::common::names;
use crate::common::size::attributes_bytes;
use crate::iam::{Use, policy};
use crate::table::sdk::SdkTable;
use crate::table::{Change, Condition, Created, Item, Key, NewItem, Range, Scan, Table, Update, Updated};
use crate::testing::{item, key, local, new_table, s, table_name};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use chat_memory_core::Timestamp;
use chat_memory_core::error::ErrorKind;
use chat_memory_core::store::{AppendId, Cost};

fn by(append_id: AppendId) -> AttributeValue {
    AttributeValue::B(Blob::new(append_id.as_bytes()))
}

fn written_by_id(append_id: AppendId) -> Condition {
    Condition::equals("append_id", Some(by(append_id)))
}

/// A change of an item, if there is one.
fn update<const N: usize>(key: &Key, set: [(&str, Option<AttributeValue>); N]) -> Update {
    let set = set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Update { key: key.clone(), conditions: vec![Condition::Exists], set, ..Update::default() }
}

fn alone(item: &Item) -> NewItem {
    NewItem::alone(item.clone())
}

fn behind(item: &Item, key: Key, written_by: Option<(AppendId, i64)>) -> NewItem {
    let at = |ms: i64| Condition::equals("created_at", Some(AttributeValue::N(ms.to_string())));
    let written_by = written_by.map(|(id, ms)| [written_by_id(id), at(ms)]);
    let conditions = std::iter::once(Condition::Exists).chain(written_by.into_iter().flatten()).collect();
    NewItem { precondition: Some((key, conditions)), ..alone(item) }
}

fn whole(pk: &str) -> Range {
    Range {
        pk: pk.to_owned(),
        from: "t#".to_owned(),
        to: "t#~".to_owned(),
        newest_first: true,
        limit: None,
        eventual: false,
        only: None,
    }
}

fn sort_keys(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.key.sk.as_str()).collect()
}

#[tokio::test]
async fn create_at_a_taken_key_returns_the_stored_item() {
    let table = new_table("create").await;
    let first = item("a", "t#0", [("append_id", by(AppendId::random())), ("messages", AttributeValue::L(vec![s("🦀\0")]))]);
    let second = item("a", "t#0", [("append_id", by(AppendId::random()))]);
    let mut cost = Cost::default();
    assert_eq!(table.create(alone(&first), &mut cost).await.expect("a free place"), Created::Done);
    let bytes = attributes_bytes(&table.sdk_item(first.clone())) as u64;
    assert_eq!((cost.requests, cost.write_units, cost.read_units, cost.bytes), (1, 1.0, 0.0, bytes));
    let mut cost = Cost::default();
    let taken = table.create(alone(&second), &mut cost).await.expect("an answer");
    assert_eq!(taken, Created::Taken(first), "the whole item, as it was written");
    assert_eq!((cost.requests, cost.bytes), (1, bytes));
}

#[tokio::test]
async fn precondition_requires_the_previous_item() {
    let table = new_table("behind").await;
    let id = AppendId::random();
    let cost = &mut Cost::default();
    let at = |ms: i64| AttributeValue::N(ms.to_string());
    let before = item("a", "t#0", [("append_id", by(id)), ("created_at", at(7))]);
    let next = item("a", "t#1", [("append_id", by(AppendId::random()))]);
    let created = async |new: NewItem| table.create(new, &mut Cost::default()).await.expect("an answer");

    assert_eq!(created(behind(&next, key("a", "t#0"), None)).await, Created::NoPrecondition, "nothing there");
    table.put(&before, &[], cost).await.expect("a put");
    assert_eq!(
        created(behind(&next, key("a", "t#0"), Some((AppendId::random(), 7)))).await,
        Created::NoPrecondition,
        "another append's"
    );
    assert_eq!(created(behind(&next, key("a", "t#0"), Some((id, 8)))).await, Created::NoPrecondition, "of another time");
    assert_eq!(table.get(&next.key, false, cost).await.expect("a read"), None, "nothing was written");

    let mut cost = Cost::default();
    let done = table.create(behind(&next, key("a", "t#0"), Some((id, 7))), &mut cost).await.expect("an answer");
    assert_eq!(done, Created::Done);
    assert_eq!((cost.requests, cost.read_units), (1, 0.0));
    assert!(cost.write_units >= 2.0, "a transaction costs twice what a put does: {cost}");

    let other = item("a", "t#1", [("append_id", by(AppendId::random()))]);
    assert_eq!(created(behind(&other, key("a", "t#0"), Some((id, 7)))).await, Created::Taken(next.clone()));
    let gone = key("a", "t#9");
    assert_eq!(created(behind(&other, gone, None)).await, Created::Taken(next), "what is there wins over what is not");
}

#[tokio::test]
async fn item_and_its_changes_are_written_atomically() {
    let table = new_table("changes").await;
    let cost = &mut Cost::default();
    let [entry, old] = ["d#2", "d#1"].map(|sk| item("dir#", sk, [("title", s("t"))]));
    table.put(&old, &[], cost).await.expect("a put");
    let next = item("a", "t#0", [("append_id", by(AppendId::random()))]);
    let update = |key: &Key| Change::Update(update(key, [("ttl", Some(s("1"))), ("title", None)]));
    let with = |changes: Vec<Change>| NewItem { changes, ..alone(&next) };

    let missing = with(vec![Change::Delete(old.key.clone()), update(&entry.key)]);
    assert_eq!(table.create(missing, cost).await.expect("an answer"), Created::NothingToUpdate);
    assert_eq!(table.get(&old.key, false, cost).await.expect("a read"), Some(old.clone()), "nothing was deleted");
    assert_eq!(table.get(&next.key, false, cost).await.expect("a read"), None, "nothing was written");

    let mut of_start = Cost::default();
    let started = with(vec![Change::Put(entry.clone()), Change::Delete(old.key.clone())]);
    assert_eq!(table.create(started.clone(), &mut of_start).await.expect("an answer"), Created::Done);
    assert_eq!(table.get(&old.key, false, cost).await.expect("a read"), None);
    assert_eq!(table.get(&entry.key, false, cost).await.expect("a read"), Some(entry.clone()));
    assert!(matches!(table.create(started, cost).await.expect("an answer"), Created::Taken(there) if there == next));

    let later = NewItem { changes: vec![update(&entry.key)], ..alone(&item("a", "t#1", [])) };
    assert_eq!(table.create(later, cost).await.expect("an answer"), Created::Done);
    let updated = item("dir#", "d#2", [("ttl", s("1"))]);
    assert_eq!(table.get(&entry.key, false, cost).await.expect("a read"), Some(updated));
}

#[tokio::test]
async fn replace_requires_the_expected_append_id() {
    let table = new_table("replace").await;
    let id = AppendId::random();
    let stub = item("a", "t#0", [("append_id", by(id)), ("cleared_by", AttributeValue::N("1".to_owned()))]);
    let mut cost = Cost::default();
    assert!(!table.put(&stub, &[written_by_id(id)], &mut cost).await.expect("an answer"), "nothing there");
    table.put(&item("a", "t#0", [("append_id", by(id)), ("messages", s("x"))]), &[], &mut cost).await.expect("a put");
    assert!(!table.put(&stub, &[written_by_id(AppendId::random())], &mut cost).await.expect("an answer"), "another append's");
    assert!(table.put(&stub, &[written_by_id(id)], &mut cost).await.expect("an answer"));
    assert_eq!(table.get(&stub.key, false, &mut cost).await.expect("a read"), Some(stub));
    assert_eq!((cost.requests, cost.write_units, cost.read_units), (5, 2.0, 1.0));
}

#[tokio::test]
async fn update_sets_and_removes_attributes_conditionally() {
    let table = new_table("update").await;
    let cost = &mut Cost::default();
    let place = key("dir#", "a");
    let title = update(&place, [("title", Some(s("t"))), ("size", Some(s("s")))]);
    assert_eq!(table.update(&title, cost).await.expect("an answer"), Updated::Refused(None), "it makes no item");
    table.put(&item("dir#", "a", [("owner", s("o"))]), &[], cost).await.expect("a put");
    let set = table.update(&title, cost).await.expect("an answer");
    assert_eq!(set, Updated::Done(item("dir#", "a", [("owner", s("o")), ("title", s("t")), ("size", s("s"))])));
    let mut change = update(&place, [("title", None), ("size", Some(s("m"))), ("owner", None)]);
    let small = item("dir#", "a", [("size", s("m"))]);
    for (name, value) in [("size", Some(s("l"))), ("title", None), ("other", Some(s("l")))] {
        change.conditions = vec![Condition::equals(name, value)];
        let refused = table.update(&change, cost).await.expect("an answer");
        assert!(matches!(refused, Updated::Refused(Some(_))), "{refused:?}");
    }
    change.conditions = vec![Condition::Exists, Condition::equals("size", Some(s("s")))];
    let removed = table.update(&change, cost).await;
    assert_eq!(removed.expect("an answer"), Updated::Done(small.clone()));
    let same = table.update(&update(&place, []), cost).await.expect("an answer");
    assert_eq!(same, Updated::Done(small));
}

/// The simulations rely on a simulated table that evaluates conditions and updates as DynamoDB does.
#[tokio::test]
async fn conditions_and_updates_are_those_of_the_simulated_table() {
    let table = new_table("conditions").await;
    let cost = &mut Cost::default();
    let bytes = |of: &[&str]| AttributeValue::Bs(of.iter().map(|of| Blob::new(*of)).collect());
    let at = |at: i64| AttributeValue::N(at.to_string());
    let items = [
        None,
        Some(item("a", "t#0", [])),
        Some(item("a", "t#0", [("ids", bytes(&["x"])), ("at", at(5))])),
        Some(item("a", "t#0", [("ids", bytes(&["x", "y"])), ("at", at(6)), ("list", AttributeValue::L(vec![s("1")]))])),
        Some(item("a", "t#0", [("ids", s("x")), ("at", s("6"))])),
    ];
    let conditions = [
        Condition::Absent,
        Condition::Exists,
        Condition::equals("at", None),
        Condition::equals("at", Some(at(5))),
        Condition::equals("list", Some(AttributeValue::L(vec![s("1")]))),
        Condition::Lacks("ids".to_owned(), Blob::new("y")),
        Condition::Unexpired("at".to_owned(), Timestamp::from_secs(5)),
    ];
    let place = key("a", "t#0");
    for stored in items {
        for condition in &conditions {
            table.delete(&place, &[], cost).await.expect("a delete");
            if let Some(stored) = &stored {
                table.put(stored, &[], cost).await.expect("a put");
            }
            let update = Update {
                key: place.clone(),
                conditions: vec![condition.clone()],
                set: vec![("new".to_owned(), Some(s("n"))), ("at".to_owned(), None)],
                append: Some(("list".to_owned(), vec![s("2")])),
                add: Some(("members".to_owned(), Blob::new("m"))),
            };
            let old = stored.as_ref().map(|item| item.attributes.clone());
            let expected = match condition.holds(old.as_ref()) {
                true => Updated::Done(crate::table::sim::updated(old.clone(), &update)),
                false => Updated::Refused(stored.clone()),
            };
            let answer = table.update(&update, cost).await.expect("an answer");
            assert_eq!(answer, expected, "{condition:?} on {stored:?}");
        }
    }
    let done = table.get(&place, false, cost).await.expect("a read").expect("an item");
    let gone = table.delete(&place, &[Condition::equals("new", Some(s("n"))), Condition::Absent], cost).await;
    assert!(!gone.expect("an answer"), "all conditions must hold");
    assert_eq!(table.get(&place, false, cost).await.expect("a read"), Some(done));
}

/// What the `list` layout reads of a table: all items, or those that a listing needs, with little of each.
#[tokio::test]
async fn a_scan_reads_shares_of_a_table_and_the_beginning_of_lists() {
    let table = new_table("scan").await;
    let cost = &mut Cost::default();
    let element = |kind: &str| AttributeValue::M([("type".to_owned(), s(kind)), ("text".to_owned(), s("hi"))].into());
    let list = |of: Vec<AttributeValue>| AttributeValue::L(of);
    for stored in [
        item(
            "full",
            "s",
            [("messages", list(vec![element("human"), element("ai"), element("human")])), ("v", s("1")), ("x", s("x"))],
        ),
        item("empty", "s", [("messages", list(Vec::new())), ("v", s("1"))]),
        item("other", "s", [("x", s("x"))]),
    ] {
        table.put(&stored, &[], cost).await.expect("a put");
    }
    let only = ["v"];
    let (mut found, mut whole) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let scan = Scan { only: Some(&only), share: Some((number, 3)), eventual: true, ..Scan::default() };
        whole.extend(table.scan(&scan, None, cost).await.expect("a page").items);
        let scan = Scan { lists: &["messages", "History"], elements: 2, ..scan };
        found.extend(table.scan(&scan, None, cost).await.expect("a page").items);
    }
    for items in [&mut found, &mut whole] {
        items.sort_by(|a, b| a.key.cmp(&b.key));
    }
    let begin = list(vec![element("human"), element("ai")]);
    assert_eq!(found, [item("full", "s", [("v", s("1")), ("messages", begin)]), item("other", "s", [])]);
    assert_eq!(whole, [item("empty", "s", [("v", s("1"))]), item("full", "s", [("v", s("1"))]), item("other", "s", [])]);
    let sample = table.scan(&Scan::sample(), None, cost).await.expect("a page");
    assert_eq!((sample.items.len(), sample.after), (3, None));
}

#[tokio::test]
async fn item_delete_is_idempotent() {
    let table = new_table("delete").await;
    let mut cost = Cost::default();
    let gone = item("a", "t#0", [("v", s("1"))]);
    table.put(&gone, &[], &mut cost).await.expect("a put");
    for _ in 0..2 {
        table.delete(&gone.key, &[], &mut cost).await.expect("a delete");
        assert_eq!(table.get(&gone.key, false, &mut cost).await.expect("a read"), None);
    }
    assert_eq!((cost.requests, cost.write_units), (5, 3.0));
}

#[tokio::test]
async fn range_is_paged_by_its_limit_in_either_order() {
    let table = new_table("limit").await;
    let cost = &mut Cost::default();
    for n in 0..5 {
        table.put(&item("a", &format!("t#{n}"), [("v", s("1")), ("ref", s("r"))]), &[], cost).await.expect("a put");
    }
    table.put(&item("a", "p#0", []), &[], cost).await.expect("a put");
    table.put(&item("b", "t#0", []), &[], cost).await.expect("a put");

    let newest = Range { limit: Some(2), ..whole("a") };
    let page = table.page(&newest, None, cost).await.expect("a page");
    assert_eq!((sort_keys(&page.items), page.after.as_deref()), (vec!["t#4", "t#3"], Some("t#3")));
    let page = table.page(&newest, Some("t#1"), cost).await.expect("a page");
    assert_eq!((sort_keys(&page.items), page.after), (vec!["t#0"], None));

    let oldest = Range { newest_first: false, from: "t#1".to_owned(), to: "t#3".to_owned(), ..whole("a") };
    let page = table.page(&oldest, None, cost).await.expect("a page");
    assert_eq!((sort_keys(&page.items), page.after), (vec!["t#1", "t#2", "t#3"], None), "both ends included");

    let only = Range { only: Some(&["ref"]), limit: Some(1), ..whole("a") };
    let page = table.page(&only, None, cost).await.expect("a page");
    assert_eq!(page.items, [item("a", "t#4", [("ref", s("r"))])]);
}

#[tokio::test]
async fn query_page_ends_at_one_megabyte() {
    let table = new_table("pages").await;
    for n in 0..5 {
        let large = item("a", &format!("t#{n}"), [("messages", s("x".repeat(300_000)))]);
        table.put(&large, &[], &mut Cost::default()).await.expect("a put");
    }
    let (mut after, mut found, mut pages, mut cost) = (None::<String>, Vec::new(), 0, Cost::default());
    loop {
        let page = table.page(&whole("a"), after.as_deref(), &mut cost).await.expect("a page");
        pages += 1;
        found.extend(page.items.into_iter().map(|item| item.key.sk));
        after = page.after;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1, "1.5 MB do not fit on one page");
    assert_eq!(found, ["t#4", "t#3", "t#2", "t#1", "t#0"]);
    assert_eq!(cost.requests, pages);
    assert!(cost.bytes > 1_500_000 && cost.read_units >= 366.0, "4 KB a unit: {cost}");
    let mut eventual = Cost::default();
    let range = Range { eventual: true, limit: Some(1), ..whole("a") };
    table.page(&range, None, &mut eventual).await.expect("a page");
    assert_eq!(eventual.read_units, 37.0, "half of 74");
}

/// Our sizes match those that DynamoDB bills: a byte more than a kilobyte costs another unit.
#[tokio::test]
async fn computed_sizes_match_billed_units() {
    let table = new_table("sizes").await;
    let of = |filler: usize| {
        let list = AttributeValue::L(vec![s("a"), s("bc"), s("")]);
        let map = AttributeValue::M([("k".to_owned(), s("v"))].into());
        item(
            "a",
            "t#0",
            [("messages", list), ("metadata", map), ("is", AttributeValue::Bool(true)), ("filler", s("x".repeat(filler)))],
        )
    };
    let empty = attributes_bytes(&table.sdk_item(of(0)));
    for (bytes, units) in [(1024, 1.0), (1025, 2.0), (4096, 4.0), (4097, 5.0)] {
        let mut cost = Cost::default();
        table.put(&of(bytes - empty), &[], &mut cost).await.expect("a put");
        assert_eq!((cost.bytes, cost.write_units), (bytes as u64, units));
    }
}

#[tokio::test]
async fn custom_key_names_are_used() {
    let options = local(&table_name("names")).with_keys("the session", "sort");
    Admin::open(&options).await.expect("good options").create_table().await.expect("a new table");
    let table = SdkTable::open(&options).await.expect("good options");
    let cost = &mut Cost::default();
    let (first, second) = (item("a", "t#0", []), item("a", "t#1", []));
    assert_eq!(table.create(alone(&first), cost).await.expect("an answer"), Created::Done);
    assert_eq!(table.create(behind(&second, first.key.clone(), None), cost).await.expect("an answer"), Created::Done);
    let page = table.page(&Range { limit: Some(1), ..whole("a") }, None, cost).await.expect("a page");
    assert_eq!((page.items, page.after.as_deref()), (vec![second], Some("t#1")));
}

#[tokio::test]
async fn caller_supplied_client_or_config_works() {
    let table = new_table("client").await;
    let place = key("a", "t#0");
    let mut options = Options::new(&table.target().table);
    let config = table.inner.client.config();
    let credentials = aws_credential_types::Credentials::new("AKIAEXAMPLE", "x", None, None, "test");
    for _ in 0..2 {
        let copy = SdkTable::from_client(&table.inner.client, &options).expect("a client");
        assert_eq!(copy.get(&place, false, &mut Cost::default()).await.expect("a read"), None);
        let shared = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .region(config.region().cloned())
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .endpoint_url(local("any").endpoint.expect("it has one"));
        let copy = SdkTable::from_sdk_config(&shared.build(), &options).expect("a configuration");
        assert_eq!(copy.get(&place, false, &mut Cost::default()).await.expect("a read"), None);
        options = options.with_credentials(crate::Credentials::new("AKIAOTHER", "x"));
    }
    let error = SdkTable::from_client(&table.inner.client, &options.with_profile("work")).expect_err("too late for a profile");
    assert!(error.is_invalid() && error.to_string().contains("\"work\""), "{error}");
}

#[tokio::test]
async fn missing_table_error_names_table_region_and_endpoint() {
    let options = local(&table_name("none"));
    let table = SdkTable::open(&options).await.expect("good options");
    let cost = &mut Cost::default();
    for fault in [
        table.put(&item("a", "t#0", []), &[], cost).await.expect_err("no table"),
        table.page(&whole("a"), None, cost).await.expect_err("no table"),
        table.create(behind(&item("a", "t#1", []), key("a", "t#0"), None), cost).await.expect_err("no table"),
        table.ttl_attribute(&names::ATTRIBUTES, cost).await.expect_err("no table"),
    ] {
        let said = fault.error.to_string();
        assert_eq!(fault.error.kind(), ErrorKind::NotFound, "{said}");
        assert!(!fault.retry && !fault.may_have_landed);
        for part in [options.table.as_str(), "eu-west-1", options.endpoint.as_deref().expect("set"), "chat-memory table create"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

/// A table with keys other than ours, created by someone else.
async fn foreign_table(test: &str, keys: &[(&str, ScalarAttributeType, KeyType)]) -> SdkTable {
    let table = SdkTable::open(&local(&table_name(test))).await.expect("good options");
    let mut request =
        table.inner.client.create_table().table_name(&table.target().table).billing_mode(BillingMode::PayPerRequest);
    for (name, kind, key) in keys {
        let definition = AttributeDefinition::builder().attribute_name(*name).attribute_type(kind.clone());
        let element = KeySchemaElement::builder().attribute_name(*name).key_type(key.clone());
        request = request.attribute_definitions(definition.build().expect("whole")).key_schema(element.build().expect("whole"));
    }
    request.send().await.expect("a new table");
    table
}

#[tokio::test]
async fn key_mismatch_error_names_keys_and_remedy() {
    let (s_, n) = (ScalarAttributeType::S, ScalarAttributeType::N);
    let list = foreign_table("list", &[("id", s_.clone(), KeyType::Hash)]).await;
    let names = foreign_table("keys", &[("pk", s_.clone(), KeyType::Hash), ("rk", s_.clone(), KeyType::Range)]).await;
    let types = foreign_table("types", &[("session_id", s_, KeyType::Hash), ("sk", n, KeyType::Range)]).await;
    for (table, part) in [(list, "the `list` layout"), (names, "partition_key=pk and sort_key=rk"), (types, "\"sk\" (N)")] {
        let new = item("a", "t#1", [("append_id", by(AppendId::random()))]);
        let cost = &mut Cost::default();
        for fault in [
            table.create(alone(&new), cost).await.expect_err("other keys"),
            table.create(behind(&new, key("a", "t#0"), None), cost).await.expect_err("other keys"),
            table.put(&new, &[written_by_id(AppendId::random())], cost).await.expect_err("other keys"),
            table.update(&update(&new.key, [("v", None)]), cost).await.expect_err("other keys"),
            table.delete(&new.key, &[], cost).await.expect_err("other keys"),
            table.get(&new.key, false, cost).await.expect_err("other keys"),
            table.page(&whole("a"), None, cost).await.expect_err("other keys"),
        ] {
            let said = fault.error.to_string();
            assert_eq!(fault.error.kind(), ErrorKind::Invalid, "{said}");
            assert!(said.contains(part), "{said}");
            assert!(!fault.retry && !fault.may_have_landed);
        }
        assert_eq!(cost.requests, 8, "seven requests, and the table was asked for its keys once");
    }
}

#[tokio::test]
async fn oversized_item_is_refused() {
    let table = new_table("large").await;
    let large = item("a", "t#1", [("messages", s("x".repeat(420_000)))]);
    let cost = &mut Cost::default();
    for new in [alone(&large), behind(&large, key("a", "t#0"), None)] {
        let fault = table.create(new, cost).await.expect_err("over 400 KB");
        assert!(fault.error.is_too_large() && !fault.retry && !fault.may_have_landed, "{fault:?}");
    }
    let fault = table.get(&key(&"k".repeat(2049), "t#0"), false, cost).await.expect_err("over 2 KB of key");
    assert!(fault.error.is_invalid(), "{fault:?}");
}

#[tokio::test]
async fn read_only_table_sends_no_writes() {
    let table = new_table("readonly").await;
    let reader =
        SdkTable::from_client(&table.inner.client, &local(&table.target().table).with_read_only(true)).expect("a client");
    let mut cost = Cost::default();
    let new = item("a", "t#1", []);
    for fault in [
        reader.put(&new, &[], &mut cost).await.expect_err("read only"),
        reader.create(behind(&new, key("a", "t#0"), None), &mut cost).await.expect_err("read only"),
        reader.delete(&new.key, &[], &mut cost).await.expect_err("read only"),
    ] {
        assert!(fault.error.is_read_only() && !fault.retry && !fault.may_have_landed, "{fault:?}");
    }
    assert_eq!(cost.requests, 0);
    assert_eq!(reader.get(&new.key, false, &mut cost).await.expect("a read"), None);
}

/// The policy allows exactly what is sent.
#[tokio::test]
async fn iam_policy_allows_exactly_what_is_sent() {
    let options = local(&table_name("policy")).with_retention(std::time::Duration::from_secs(86_400));
    let actions = |uses: &[Use]| -> BTreeSet<String> {
        let policy = policy(&options, uses, None);
        let statements = policy["Statement"].as_array().cloned().expect("statements");
        let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().cloned().expect("actions"));
        actions.map(|action| action.as_str().expect("text").to_owned()).collect()
    };
    let needed = |table: &SdkTable| -> BTreeSet<String> {
        let sent = table.operations();
        let all = crate::iam::Operation::ALL.into_iter();
        let ours: Vec<_> = all.filter(|operation| sent.contains(&operation.to_string())).collect();
        assert_eq!(ours.len(), sent.len(), "each operation is listed: {sent:?}");
        ours.iter().flat_map(|operation| operation.actions()).map(ToString::to_string).collect()
    };

    let admin = Admin::open(&options).await.expect("good options");
    admin.create_table().await.expect("a new table");
    assert_eq!(needed(admin.table()), actions(&[Use::TableCreate]));

    let checker = Admin::open(&options).await.expect("good options");
    checker.check().await;
    assert_eq!(needed(checker.table()), actions(&[Use::TableCheck, Use::Sessions]));

    let table = SdkTable::open(&options).await.expect("good options");
    let cost = &mut Cost::default();
    let (first, second) = (item("a", "t#0", []), item("a", "t#1", []));
    assert_eq!(table.ttl_attribute(&names::ATTRIBUTES, cost).await.expect("TTL is on").as_deref(), Some(names::TTL));
    table.create(alone(&first), cost).await.expect("an answer");
    table.create(behind(&second, first.key.clone(), None), cost).await.expect("an answer");
    table.update(&update(&first.key, []), cost).await.expect("an answer");
    table.get(&first.key, false, cost).await.expect("an answer");
    table.page(&whole("a"), None, cost).await.expect("an answer");
    table.delete(&first.key, &[], cost).await.expect("an answer");
    assert_eq!(needed(&table), actions(&[Use::Sessions]));
}
