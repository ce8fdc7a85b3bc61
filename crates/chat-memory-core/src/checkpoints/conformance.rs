//! What every store of checkpoints must show: tests of [`CheckpointStore`] on any [`Rows`](super::Rows). Each uses a thread of its
//! own, so they may run on a table in use, and several times at once. [`checkpoint_conformance_tests!`](crate::checkpoint_conformance_tests)
//! generates one test per case.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use uuid::Uuid;

use super::{ChannelHistory, Checkpoint, CheckpointOptions, CheckpointStore, NewCheckpoint, Typed, Write};
use crate::error::{Error, ErrorKind};
use crate::session::SessionId;
use crate::store::Cost;
use crate::timestamp::Timestamp;

type Opening = Pin<Box<dyn Future<Output = Result<CheckpointStore, Error>>>>;

/// The table under test.
pub struct Table(Box<dyn Fn(CheckpointOptions) -> Opening>);

impl Table {
    /// `open` opens a store on the table with the given options. Each call must return one that is as independent of the others as
    /// the table allows: to the tests, they are different machines.
    pub fn new<F>(open: impl Fn(CheckpointOptions) -> F + 'static) -> Self
    where
        F: Future<Output = Result<CheckpointStore, Error>> + 'static,
    {
        Self(Box::new(move |options| Box::pin(open(options))))
    }

    /// A thread that no other test uses.
    pub(super) async fn thread(&self) -> Thread<'_> {
        self.thread_with(CheckpointOptions::default()).await
    }

    pub(super) async fn thread_with(&self, options: CheckpointOptions) -> Thread<'_> {
        let thread = SessionId::new(format!("conformance/{}", Uuid::new_v4())).expect("a good id");
        Thread { table: self, store: (self.0)(options.clone()).await.expect("it can be opened"), options, thread }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

/// A thread, in a store of its own.
pub(super) struct Thread<'a> {
    table: &'a Table,
    options: CheckpointOptions,
    pub(super) store: CheckpointStore,
    pub(super) thread: SessionId,
}

impl Thread<'_> {
    /// The same thread in a store that remembers nothing.
    pub(super) async fn another(&self) -> Self {
        let store = (self.table.0)(self.options.clone()).await.expect("it can be opened");
        Self { table: self.table, options: self.options.clone(), store, thread: self.thread.clone() }
    }

    pub(super) async fn put(&self, new: NewCheckpoint) -> Result<Cost, Error> {
        self.store.put(&self.thread, "", new).await.map(|put| put.cost)
    }

    pub(super) async fn write(&self, n: usize, task: &str, index: i64, text: &str) {
        let write = Write::new(task, "path", index, "messages", json(text));
        self.store.put_writes(&self.thread, "", &id(n), task, vec![write]).await.expect("it can be written");
    }

    pub(super) async fn newest(&self) -> Option<Checkpoint> {
        self.store.load(&self.thread, "", None).await.expect("it can be loaded").value
    }

    pub(super) async fn at(&self, n: usize) -> Option<Checkpoint> {
        self.store.load(&self.thread, "", Some(&id(n))).await.expect("it can be loaded").value
    }

    pub(super) async fn history(&self, channels: &[String]) -> Vec<ChannelHistory> {
        self.store.history(&self.thread, "", None, channels).await.expect("it can be read").value
    }

    pub(super) async fn delete(&self) -> Result<Cost, Error> {
        self.store.delete_thread(&self.thread).await
    }

    pub(super) async fn list(&self) -> Vec<Checkpoint> {
        self.store.list(&self.thread, "", None, 1_000).await.expect("it can be listed").value
    }
}

pub(super) fn id(n: usize) -> String {
    format!("1f0000{n:06}")
}

fn json(text: impl Into<String>) -> Typed {
    Typed::new("json", text.into())
}

/// A checkpoint with one channel.
pub(super) fn saying(n: usize, parent: Option<usize>, text: &str) -> NewCheckpoint {
    let mut new = NewCheckpoint::new(id(n), parent.map(id), json(format!("body {n}")), json(format!("metadata {n}")));
    new.versions.insert("messages".into(), n.to_string());
    new.values.insert("messages".into(), Some(json(text)));
    new
}

fn ids(list: &[Checkpoint]) -> Vec<&str> {
    list.iter().map(|checkpoint| checkpoint.id.as_str()).collect()
}

/// Text that nothing compresses.
pub(super) fn noise(seed: u64, bytes: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| char::from(random.u8(b'!'..=b'~'))).collect()
}

/// Generates one test per case that a store of checkpoints must pass. `table` is an expression of type
/// [`Table`](crate::checkpoints::conformance::Table), evaluated in each test (it may `.await`).
///
/// ```
/// use chat_memory::checkpoints::conformance::Table;
/// use chat_memory::checkpoints::{CheckpointStore, InMemoryRows};
///
/// fn table() -> Table {
///     let rows = InMemoryRows::new();
///     Table::new(move |options| std::future::ready(Ok(CheckpointStore::new(rows.clone(), options))))
/// }
///
/// chat_memory::checkpoint_conformance_tests! { table: table() }
/// ```
#[macro_export]
macro_rules! checkpoint_conformance_tests {
    (table: $table:expr $(,)?) => {
        $crate::checkpoint_conformance_tests! {
            @tests $table,
            checkpoints_come_back_as_they_were_put
            channel_that_did_not_change_keeps_its_value
            second_of_two_runs_is_refused_and_a_fork_is_not
            checkpoint_without_a_parent_is_refused_only_if_the_newest_was_loaded
            repeated_put_changes_nothing
            writes_ride_in_the_next_checkpoint_or_are_stored_after_a_moment
            states_of_any_size_are_whole_and_cost_what_was_added
            lists_are_newest_first_by_page_and_namespace
            deleted_thread_starts_from_nothing_and_refuses_earlier_runs
            prune_keeps_the_newest_and_what_delta_channels_need
            runs_are_deleted_with_their_writes_and_later_ones_stay
            copied_thread_is_equal_and_apart
            expired_checkpoints_are_hidden_and_never_needed
            checkpoint_before_a_removed_one_is_not_taken_for_the_newest
            first_checkpoint_is_refused_although_the_load_was_forgotten
            thread_whose_newest_checkpoint_expired_starts_again
            writes_of_a_refused_attempt_do_not_count
        }
    };
    (@tests $table:expr, $($name:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::checkpoints::conformance::$name($table).await;
            }
        )*
    };
}

/// A checkpoint is loaded as it was put, by its id or as the newest, also by others.
pub async fn checkpoints_come_back_as_they_were_put(table: Table) {
    let store = table.thread().await;
    assert_eq!(store.newest().await, None);
    let mut text = String::new();
    for n in 1..=40 {
        text.push_str(&noise(n as u64, 300));
        store.put(saying(n, (n > 1).then(|| n - 1), &text)).await.expect("it can be put");
    }
    let other = store.another().await;
    for store in [&store, &other] {
        let last = store.newest().await.expect("it is there");
        assert_eq!((last.id.as_str(), last.parent.as_deref()), (id(40).as_str(), Some(id(39).as_str())));
        assert_eq!((&last.body, &last.metadata, last.is_newest), (&json("body 40"), &json("metadata 40"), true));
        assert_eq!(last.values, BTreeMap::from([("messages".to_owned(), json(text.clone()))]));
        for n in [1, 17, 39] {
            let earlier = store.at(n).await.expect("it is there");
            assert_eq!((earlier.values["messages"].bytes.len(), earlier.is_newest), (n * 300, false));
            assert!(text.as_bytes().starts_with(&earlier.values["messages"].bytes));
        }
        assert_eq!(store.at(41).await, None);
    }
}

/// A channel that did not change has its parent's value.
pub async fn channel_that_did_not_change_keeps_its_value(table: Table) {
    let store = table.thread().await;
    let mut first = saying(1, None, "a");
    first.versions.insert("files".into(), "7".into());
    first.values.insert("files".into(), Some(json("large")));
    store.put(first).await.expect("it can be put");
    let mut second = saying(2, Some(1), "b");
    second.versions.insert("files".into(), "7".into());
    second.versions.insert("empty".into(), "1".into());
    second.values.insert("empty".into(), None);
    store.put(second).await.expect("it can be put");
    let values = store.newest().await.expect("it is there").values;
    assert_eq!(values, BTreeMap::from([("files".to_owned(), json("large")), ("messages".to_owned(), json("b"))]));
    let mut third = saying(3, Some(2), "c");
    third.versions.insert("files".into(), "8".into());
    store.put(third).await.expect("it can be put");
    assert_eq!(store.newest().await.expect("it is there").values.len(), 1, "another version without a value has none");
}

/// Of two runs that start from one checkpoint, the second is refused, unless it is a fork.
pub async fn second_of_two_runs_is_refused_and_a_fork_is_not(table: Table) {
    let store = table.thread().await;
    store.put(saying(1, None, "a")).await.expect("it can be put");
    let other = store.another().await;
    for store in [&store, &other] {
        store.newest().await.expect("it is there");
    }
    store.put(saying(2, Some(1), "b")).await.expect("it is the first");
    for store in [&store, &other] {
        let error = store.put(saying(3, Some(1), "c")).await.expect_err("it is the second");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("another run has put") && error.to_string().contains(&id(2)), "{error}");
    }
    let mut fork = saying(4, Some(1), "fork");
    fork.fork = true;
    other.put(fork).await.expect("it is a fork");
    let error = store.put(saying(5, Some(2), "d")).await.expect_err("the fork came first");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    store.put(saying(6, Some(4), "e")).await.expect("it continues the fork");
    let last = other.newest().await.expect("it is there");
    assert_eq!((last.id, last.parent), (id(6), Some(id(4))));
    assert_eq!(other.at(4).await.expect("it is there").parent, Some(id(1)));

    // One that starts without a parent on what it never loaded is a branch without a parent; one that saw the thread empty is refused.
    let fresh = store.another().await;
    fresh.put(saying(7, None, "again")).await.expect("it never loaded the thread");
    assert_eq!(store.put(saying(8, None, "again")).await.expect_err("it loaded it").kind(), ErrorKind::Conflict);
    let error = store.put(saying(5, Some(7), "late")).await.expect_err("its clock is behind");
    assert!(error.to_string().contains("set the clock"), "{error}");
    let mut lost = saying(9, Some(3), "lost");
    lost.fork = true;
    assert_eq!(store.put(lost).await.expect_err("its parent was refused").kind(), ErrorKind::NotFound);
}

/// A run that starts from nothing is refused if it saw the thread empty and it is not.
pub async fn checkpoint_without_a_parent_is_refused_only_if_the_newest_was_loaded(table: Table) {
    let store = table.thread().await;
    store.put(saying(1, None, "a")).await.expect("it can be put");
    // Looking up a checkpoint by its id tells nothing about the newest.
    assert_eq!(store.at(2).await, None);
    store.put(saying(2, None, "b")).await.expect("it can be put");
    store.newest().await.expect("it is there");
    let error = store.put(saying(3, None, "c")).await.expect_err("it was not empty");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// A repeated put is stored once.
pub async fn repeated_put_changes_nothing(table: Table) {
    let store = table.thread().await;
    store.put(saying(1, None, "a")).await.expect("it can be put");
    store.put(saying(2, Some(1), "b")).await.expect("it can be put");
    let fresh = store.another().await;
    for store in [&store, &fresh] {
        store.put(saying(2, Some(1), "b")).await.expect("it is there");
        let error = store.put(saying(2, Some(1), "c")).await.expect_err("it is another");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    fresh.put(saying(3, Some(2), "c")).await.expect("it can be put");
    store.put(saying(2, Some(1), "b")).await.expect("it was followed since");
    assert_eq!(store.list().await.len(), 3);
}

/// What tasks wrote is stored with the next checkpoint or after the window, special writes at once.
pub async fn writes_ride_in_the_next_checkpoint_or_are_stored_after_a_moment(table: Table) {
    let mut store = table.thread_with(CheckpointOptions::default().with_window(Duration::from_hours(1))).await;
    store.put(saying(1, None, "a")).await.expect("it can be put");
    store.write(1, "t", 0, "rides").await;
    let cost = store.put(saying(2, Some(1), "b")).await.expect("it can be put");
    assert_eq!(cost.requests, 1);
    let texts = |checkpoint: Option<Checkpoint>| -> Vec<String> {
        let writes = checkpoint.expect("it is there").writes;
        writes.into_iter().map(|write| String::from_utf8(write.value.bytes).expect("UTF-8")).collect()
    };
    assert_eq!(texts(store.at(1).await), ["rides"]);
    store.options = CheckpointOptions::default().with_window(Duration::from_millis(1));
    let store = store.another().await;
    store.write(2, "u", 0, "waits").await;
    store.write(2, "u", 0, "is a repeat").await;
    store.write(2, "t", 1, "second").await;
    store.write(2, "t", 0, "first").await;
    // It is stored without another call, whenever that is.
    let fresh = store.another().await;
    while texts(fresh.newest().await).len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(texts(fresh.newest().await), ["first", "second", "waits"]);
    store.write(2, "u", -1, "an error").await;
    store.write(2, "u", -1, "another").await;
    assert_eq!(
        texts(fresh.newest().await),
        ["first", "second", "another", "waits"],
        "the special one is stored at once, the last counts"
    );
    store.put(saying(3, Some(2), "c")).await.expect("it can be put");
    assert_eq!(texts(fresh.at(2).await).len(), 4);
    assert_eq!(texts(fresh.newest().await), [""; 0]);
    let listed = fresh.list().await;
    assert_eq!(listed.iter().map(|checkpoint| checkpoint.writes.len()).collect::<Vec<_>>(), [0, 4, 1]);
    // Of a checkpoint that is not stored yet; larger than a row.
    store.write(4, "t", -3, &noise(1, 1_500_000)).await;
    store.put(saying(4, Some(3), "d")).await.expect("it can be put");
    assert_eq!(texts(fresh.newest().await)[0].len(), 1_500_000);
}

/// A state of any size is whole, and a put costs what it adds.
pub async fn states_of_any_size_are_whole_and_cost_what_was_added(table: Table) {
    let store = table.thread().await;
    let mut text = noise(0, 1_500_000);
    store.put(saying(1, None, &text)).await.expect("it can be put");
    for n in 2..=200 {
        text.push_str(&noise(n as u64, 600));
        let cost = store.put(saying(n, Some(n - 1), &text)).await.expect("it can be put");
        assert!(cost.bytes < 60_000, "{n}: {cost}");
    }
    let fresh = store.another().await;
    let loaded = fresh.store.load(&fresh.thread, "", None).await.expect("it can be loaded");
    assert_eq!(loaded.value.expect("it is there").values["messages"].bytes, text.into_bytes());
    assert!(loaded.cost.bytes < 2_000_000, "{}", loaded.cost);
    // What shrinks leaves its bases behind.
    for n in 201..=400 {
        store.put(saying(n, Some(n - 1), &noise(n as u64, 3_000))).await.expect("it can be put");
    }
    let fresh = store.another().await;
    let loaded = fresh.store.load(&fresh.thread, "", None).await.expect("it can be loaded");
    assert!(loaded.cost.bytes < 200_000, "{}", loaded.cost);
}

/// Lists are newest first, by page and namespace.
pub async fn lists_are_newest_first_by_page_and_namespace(table: Table) {
    let store = table.thread().await;
    for n in 1..=5 {
        store.put(saying(n, (n > 1).then(|| n - 1), "a")).await.expect("it can be put");
    }
    store.store.put(&store.thread, "child:1|x#y", saying(9, None, "b")).await.expect("it can be put");
    let list = async |namespace: &str, before: Option<usize>, limit: usize| {
        let before = before.map(id);
        store.store.list(&store.thread, namespace, before.as_deref(), limit).await.expect("it can be listed").value
    };
    assert_eq!(ids(&list("", None, 10).await), [id(5), id(4), id(3), id(2), id(1)]);
    assert_eq!(ids(&list("", Some(4), 2).await), [id(3), id(2)]);
    assert_eq!(ids(&list("", Some(1), 2).await), [""; 0]);
    assert_eq!(list("child:1|x#y", None, 10).await[0].namespace, "child:1|x#y");
    assert_eq!(store.store.namespaces(&store.thread).await.expect("they can be listed").value, ["", "child:1|x#y"]);
    let (mut is_found, mut after) = (false, None);
    while !is_found {
        let (threads, next) = store.store.threads(after.as_deref()).await.expect("they can be listed").value;
        is_found = threads.contains(&store.thread);
        assert!(is_found || next.is_some(), "the thread is not among all threads");
        after = next;
    }
}

/// A deleted thread starts from nothing, and refuses runs that read it before.
pub async fn deleted_thread_starts_from_nothing_and_refuses_earlier_runs(table: Table) {
    let store = table.thread().await;
    for n in 1..=3 {
        store.put(saying(n, (n > 1).then(|| n - 1), &noise(n as u64, 50_000))).await.expect("it can be put");
    }
    store.write(3, "t", -1, "error").await;
    let stale = store.another().await;
    stale.newest().await.expect("it is there");
    let deleter = store.another().await;
    for _ in 0..2 {
        deleter.delete().await.expect("it can be deleted");
        assert_eq!(deleter.newest().await, None);
    }
    for (store, parent) in [(&store, Some(3)), (&stale, Some(3)), (&stale, Some(1))] {
        let error = store.put(saying(4, parent, "late")).await.expect_err("it was deleted");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    stale.put(saying(5, None, "again")).await.expect("it starts from nothing");
    stale.put(saying(6, Some(5), "on")).await.expect("it continues");
    assert_eq!(ids(&store.list().await), [id(6), id(5)]);
    deleter.delete().await.expect("it can be deleted");
    assert_eq!(stale.newest().await, None);
    table.thread().await.delete().await.expect("there is nothing");
}

/// Pruning keeps the newest checkpoint and what its delta channels need.
pub async fn prune_keeps_the_newest_and_what_delta_channels_need(table: Table) {
    for delta in [false, true] {
        let store = table.thread().await;
        let mut text = String::new();
        for n in 1..=60 {
            text.push_str(&noise(n as u64, 2_000));
            let mut new = saying(n, (n > 1).then(|| n - 1), &text);
            if delta {
                new.delta_channels = vec!["events".into()];
                new.versions.insert("events".into(), n.to_string());
                new.values.insert("events".into(), (n == 57).then(|| json("snapshot")));
            }
            store.put(new).await.expect("it can be put");
            let event = Write::new("t", "", 0, "events", json(format!("event {n}")));
            store.store.put_writes(&store.thread, "", &id(n), "t", vec![event]).await.expect("it can be written");
        }
        let channels = ["events".to_owned()];
        let before = store.history(&channels).await;
        for _ in 0..2 {
            let other = store.another().await;
            other.store.prune(&other.thread).await.expect("it can be pruned");
        }
        let fresh = store.another().await;
        let left = fresh.list().await;
        let expected: Vec<String> = if delta { (57..=60).rev().map(id).collect() } else { vec![id(60)] };
        assert_eq!(ids(&left), expected);
        assert_eq!(left[0].values["messages"], json(text.clone()));
        assert_eq!(left[0].writes.len(), 1);
        if delta {
            assert_eq!(fresh.history(&channels).await, before);
            assert_eq!(before[0].seed, Some(json("snapshot")));
            assert_eq!(
                before[0].writes.iter().map(|write| write.value.clone()).collect::<Vec<_>>(),
                (57..60).map(|n| json(format!("event {n}"))).collect::<Vec<_>>()
            );
        }
        // A run that continues meanwhile is not disturbed, and one that was overtaken is still refused.
        store.put(saying(61, Some(60), "on")).await.expect("it continues");
        let error = fresh.put(saying(62, Some(59), "late")).await.expect_err("it was overtaken");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(fresh.newest().await.expect("it is there").values["messages"], json("on"));
    }
}

/// Runs are deleted with what they wrote, and later ones stay whole.
pub async fn runs_are_deleted_with_their_writes_and_later_ones_stay(table: Table) {
    let store = table.thread().await;
    let mut text = String::new();
    for n in 1..=30 {
        text.push_str(&noise(n as u64, 2_000));
        let mut new = saying(n, (n > 1).then(|| n - 1), &text);
        new.run_id = Some(format!("run-{}", n / 10));
        store.put(new).await.expect("it can be put");
        store.write(n, "t", 0, "written").await;
    }
    store.store.delete_runs(&store.thread, &["run-1".into(), "run-3".into()]).await.expect("they can be deleted");
    let fresh = store.another().await;
    let left = fresh.list().await;
    assert_eq!(ids(&left), (20..30).rev().chain((1..10).rev()).map(id).collect::<Vec<_>>());
    for checkpoint in &left {
        assert!(text.as_bytes().starts_with(&checkpoint.values["messages"].bytes));
    }
    assert_eq!(fresh.at(30).await, None);
    let error = store.put(saying(31, Some(30), "late")).await.expect_err("it was deleted");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    store.put(saying(32, Some(29), "on")).await.expect("it continues from what is left");
    assert_eq!(fresh.newest().await.expect("it is there").values["messages"], json("on"));
}

/// A copy of a thread is equal to it, and apart from it.
pub async fn copied_thread_is_equal_and_apart(table: Table) {
    let store = table.thread().await;
    let mut text = String::new();
    for n in 1..=40 {
        text.push_str(&noise(n as u64, 2_000));
        store.put(saying(n, (n > 1).then(|| n - 1), &text)).await.expect("it can be put");
        store.write(n, "t", 0, "written").await;
    }
    store.store.put(&store.thread, "child", saying(1, None, "c")).await.expect("it can be put");
    let target = table.thread().await;
    store.store.copy_thread(&store.thread, &target.thread).await.expect("it can be copied");
    for namespace in ["", "child"] {
        let [from, to] = [&store, &target].map(|on| on.store.list(&on.thread, namespace, None, 100));
        assert_eq!(from.await.expect("it can be listed").value, to.await.expect("it can be listed").value);
    }
    target.put(saying(41, Some(40), "apart")).await.expect("it can be put");
    store.put(saying(42, Some(40), "as well")).await.expect("it can be put");
    assert_eq!(
        store.store.copy_thread(&store.thread, &target.thread).await.expect_err("it is there").kind(),
        ErrorKind::Conflict
    );
}

/// An expired checkpoint is hidden, and no other needs it.
pub async fn expired_checkpoints_are_hidden_and_never_needed(table: Table) {
    let store = table.thread_with(CheckpointOptions::default().with_retention(Duration::from_secs(3_600))).await;
    store.put(saying(1, None, "a")).await.expect("it can be put");
    let there = store.newest().await.expect("it is there");
    let left = there.expires_at.expect("it expires").since(Timestamp::now());
    assert!(left > Duration::from_secs(3_500) && left <= Duration::from_secs(3_600), "{left:?}");
    let brief = table.thread_with(CheckpointOptions::default().with_retention(Duration::ZERO)).await;
    brief.put(saying(1, None, "a")).await.expect("it can be put");
    assert_eq!(brief.newest().await, None);
    brief.put(saying(2, None, "a")).await.expect("the thread is empty");
    brief.put(saying(3, Some(2), "b")).await.expect("a run continues while its checkpoint expires");
    assert_eq!(brief.newest().await, None);
}

/// A checkpoint before a removed one is not the newest.
pub async fn checkpoint_before_a_removed_one_is_not_taken_for_the_newest(table: Table) {
    let store = table.thread().await;
    store.put(saying(1, None, "a")).await.expect("put");
    store.put(NewCheckpoint { run_id: Some("r".into()), ..saying(2, Some(1), "b") }).await.expect("put");
    store.put(saying(3, Some(2), "c")).await.expect("put");
    store.store.delete_runs(&store.thread, &["r".into()]).await.expect("deleted");
    assert!(!store.at(1).await.expect("it is there").is_newest);
    let before = store.store.list(&store.thread, "", Some(&id(2)), 9).await.expect("listed").value;
    assert_eq!((ids(&before), before[0].is_newest), (vec![id(1).as_str()], false));
    assert!(store.at(3).await.expect("it is there").is_newest);
}

/// A run that saw the thread empty is refused although the store has forgotten that it looked.
pub async fn first_checkpoint_is_refused_although_the_load_was_forgotten(table: Table) {
    let store = table.thread_with(CheckpointOptions::default().with_cache_bytes(0)).await;
    assert_eq!(store.newest().await, None);
    let other = table.thread().await;
    store.store.put(&other.thread, "", saying(1, None, "a")).await.expect("put");
    store.another().await.put(saying(1, None, "b")).await.expect("put");
    assert_eq!(store.put(saying(2, None, "c")).await.expect_err("it is late").kind(), ErrorKind::Conflict);
}

/// A thread of which the newest checkpoint expired starts from nothing.
pub async fn thread_whose_newest_checkpoint_expired_starts_again(table: Table) {
    let store = table.thread_with(CheckpointOptions::default().with_retention(Duration::from_millis(1))).await;
    store.put(saying(1, None, "a")).await.expect("put");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.newest().await, None);
    store.put(saying(2, None, "b")).await.expect("put");
}

/// What a refused run wrote does not count.
pub async fn writes_of_a_refused_attempt_do_not_count(table: Table) {
    for window in [0, 60_000] {
        let first = table.thread_with(CheckpointOptions::default().with_window(Duration::from_millis(window))).await;
        let stores = [first.another().await, first];
        for other in [0, 1] {
            let store = &stores[0];
            store.delete().await.expect("deleted");
            let base = 10 * (1 + other) + usize::try_from(window % 7).expect("a number");
            store.put(saying(base, None, "a")).await.expect("put");
            // A run that ended here, which the next ones continue.
            let said = |task: &str, text: &str| vec![Write::new(task, "", 0, "messages", json(text))];
            store
                .store
                .put_writes_of(Some("zero"), &store.thread, "", &id(base), "zero", said("zero", "zero"))
                .await
                .expect("written");
            let loaded = store.newest().await.expect("it is there");
            assert_eq!(loaded.calls.len(), 1);
            for (attempt, store) in [("one", &stores[other]), ("two", store)] {
                for task in ["same", attempt] {
                    let writes = said(task, attempt);
                    store.store.put_writes_of(Some(attempt), &store.thread, "", &id(base), task, writes).await.expect("written");
                }
            }
            let of = |n: usize, attempt: &str| {
                let seen = loaded.calls.clone();
                NewCheckpoint { attempt: Some(attempt.into()), seen, ..saying(n, Some(base), "b") }
            };
            store.put(of(base + 1, "two")).await.expect("put");
            let refused = stores[other].put(of(base + 2, "one")).await.expect_err("it is late");
            assert_eq!(refused.kind(), ErrorKind::Conflict);
            // What comes late belongs to its attempt, too.
            store
                .store
                .put_writes_of(Some("two"), &store.thread, "", &id(base), "late", said("late", "two"))
                .await
                .expect("written");
            for store in &stores {
                store.store.flush().await.expect("stored");
                let found = store.at(base).await.expect("it is there").writes;
                let found: Vec<_> = found.iter().map(|write| (write.task_id.as_str(), write.value.clone())).collect();
                let expected = [("late", "two"), ("same", "two"), ("two", "two"), ("zero", "zero")];
                assert_eq!(found, expected.map(|(task, value)| (task, json(value))));
            }
        }
    }
}
