use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::memory::TokenCounter;
use crate::message::{Message, Role, ToolCall};
use crate::store::{Append, Appended, Capabilities, History, InMemoryStore};

/// Wraps the reference store and records how many messages each load returned.
#[derive(Debug, Default)]
struct Watched {
    store: InMemoryStore,
    loads: Mutex<Vec<usize>>,
}

#[async_trait::async_trait]
impl ChatStore for Watched {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended, Error> {
        self.store.append(session, append).await
    }
    async fn load(&self, session: &SessionId, load: &Load) -> Result<History, Error> {
        let history = self.store.load(session, load).await?;
        self.loads.lock().expect("no panic").push(history.messages().count());
        Ok(history)
    }
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(task)
}

async fn stored(records: impl IntoIterator<Item = Vec<Message>>) -> (Watched, SessionId) {
    let (watched, session) = (Watched::default(), SessionId::random());
    for record in records {
        watched.append(&session, &Append::new(record)).await.expect("stored");
    }
    (watched, session)
}

fn turn(n: usize) -> Vec<Message> {
    let id = format!("call_{n}");
    let call = Message::tool_calls([ToolCall::function(&id, "f", "{}")]);
    vec![Message::user(format!("{n}?")), call, Message::tool(id, "21"), Message::assistant(format!("{n}!"))]
}

#[test]
fn recall_reads_little_more_than_the_window() {
    run(async {
        let (watched, session) = stored((0..1_000).map(turn)).await;
        for (policy, messages, read) in [
            (Policy::last_messages(20), 20, 20),
            (Policy::last_messages(21), 21, 24),
            (Policy::last_turns(3), 12, 12),
            (Policy::token_budget(10, TokenCounter::custom(|_| 1)), 9, 12),
            (Policy::last_messages(0), 0, 0),
        ] {
            watched.loads.lock().expect("no panic").clear();
            let recalled = recall(&watched, &session, &policy).await.expect("loaded");
            assert_eq!(recalled.window.messages.len(), messages, "{policy:?}");
            assert_eq!(*watched.loads.lock().expect("no panic"), [read], "{policy:?}");
            assert!(recalled.window.left_out.unread);
            assert_eq!((recalled.cost.requests, recalled.position.next()), (1, 1_000));
        }
    });
}

#[test]
fn recall_reads_further_past_omitted_messages() {
    run(async {
        // A hundred results without a call, as the newest messages.
        let strays = (0..100).map(|n| vec![Message::tool(format!("lost_{n}"), "21")]);
        let (watched, session) = stored((0..1_000).map(turn).chain(strays)).await;
        let recalled = recall(&watched, &session, &Policy::last_messages(4)).await.expect("loaded");
        assert_eq!(recalled.window.messages, turn(999));
        assert_eq!((recalled.window.left_out.stray, recalled.window.left_out.unread), (100, true));
        let loads = watched.loads.lock().expect("no panic").clone();
        assert_eq!(recalled.cost.requests, loads.len() as u64);
        assert!(loads.iter().sum::<usize>() < 4 * 104, "{loads:?}");
    });
}

#[test]
fn empty_session_recalls_an_empty_window() {
    run(async {
        let (watched, session) = stored([]).await;
        let recalled = recall(&watched, &session, &Policy::last_turns(5)).await.expect("loaded");
        assert!(recalled.window.messages.is_empty() && recalled.window.left_out.is_nothing());
    });
}

/// Records of every kind: whole, torn across records, broken.
fn record() -> impl Strategy<Value = Vec<Message>> {
    let call = |ids: &[&str]| Message::tool_calls(ids.iter().map(|id| ToolCall::function(*id, "f", "{}")));
    let messages = vec![
        Message::user("?"),
        Message::assistant("!"),
        Message::system("be brief"),
        call(&["1"]),
        call(&["1", "2"]),
        Message::tool("1", "21"),
        Message::tool("2", "22"),
    ];
    prop::collection::vec(prop::sample::select(messages), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn recall_equals_the_window_of_the_whole_history(records in prop::collection::vec(record(), 0..12), kind in 0..4, n in 0..12_usize) {
        let counter = || TokenCounter::custom(|m| if m.role == Role::Tool { 5 } else { 1 });
        let policy = match kind {
            0 => Policy::everything(),
            1 => Policy::last_messages(n),
            2 => Policy::last_turns(n),
            _ => Policy::token_budget(n as u64, counter()),
        };
        let all: Vec<Message> = records.iter().flatten().cloned().collect();
        let recalled = run(async {
            let (watched, session) = stored(records).await;
            recall(&watched, &session, &policy).await.expect("loaded")
        });
        let (given, whole) = (recalled.window, policy.window(all));
        prop_assert_eq!(given.messages, whole.messages);
        prop_assert_eq!(given.tokens, whole.tokens);
        prop_assert_eq!(given.left_out.broken(), whole.left_out.broken());
        prop_assert!(given.left_out.unread || given.left_out == whole.left_out);
    }
}
