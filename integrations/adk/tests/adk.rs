//! adk-rust's own runner and agent on these sessions: several processes, concurrency, states, rewinds, other formats, and cost.

use std::collections::HashMap;
use std::sync::Arc;

use adk_core::identity::{AdkIdentity, AppName, SessionId as AdkSession, UserId};
use adk_core::{Content, ErrorCategory, Event};
use adk_session::{AppendEventRequest, CreateRequest, DeleteRequest, GetRequest, ListRequest, Session, SessionService};
use chat_memory::store::{Append, Load};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Message, Role, SessionId};
use chat_memory_adk::ChatSessionService;
use chat_memory_testkit::children::example;
use chat_memory_testkit::{dynamodb_url, store_urls};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

async fn open(url: &str) -> Arc<dyn ChatStore> {
    chat_memory::open(url).await.expect("it opens")
}

/// A separate service, as another process would have.
async fn service(url: &str) -> ChatSessionService {
    ChatSessionService::new(open(url).await)
}

fn identity(session: &str) -> AdkIdentity {
    AdkIdentity::new(
        AppName::try_from("app").expect("a name"),
        UserId::try_from("user").expect("an id"),
        AdkSession::try_from(session).expect("an id"),
    )
}

async fn create(service: &ChatSessionService, session: &str, state: &[(&str, Value)]) -> adk_core::Result<Box<dyn Session>> {
    let state = state.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    service
        .create(CreateRequest { app_name: "app".into(), user_id: "user".into(), session_id: Some(session.into()), state })
        .await
}

async fn get(
    service: &ChatSessionService,
    session: &str,
    recent: Option<usize>,
    after: Option<DateTime<Utc>>,
) -> Box<dyn Session> {
    let (app_name, user_id, session_id) = ("app".into(), "user".into(), session.into());
    service.get(GetRequest { app_name, user_id, session_id, num_recent_events: recent, after }).await.expect("the session")
}

async fn list(service: &ChatSessionService) -> Vec<String> {
    let listed = service.list(ListRequest { app_name: "app".into(), user_id: "user".into(), limit: None, offset: None }).await;
    listed.expect("a list").iter().map(|session| session.id().to_owned()).collect()
}

fn event(text: &str, delta: &[(&str, Value)]) -> Event {
    let mut event = Event::with_id(text, "invocation");
    event.author = "agent".into();
    event.set_content(Content::new("model").with_text(text));
    event.actions.state_delta = delta.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    event
}

async fn append(service: &ChatSessionService, session: &str, event: Event) -> adk_core::Result<()> {
    service.append_event_for_identity(AppendEventRequest { identity: identity(session), event }).await
}

fn ids(session: &dyn Session) -> Vec<String> {
    session.events().all().into_iter().map(|event| event.id).collect()
}

#[tokio::test]
async fn agent_with_a_tool_remembers_across_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-agent", folder.path()).await {
        assert_eq!(example("adk_agent", &[&url, "How is the weather?"]), "It is \"21 °C in Paris\" (question 1)");
        assert_eq!(example("adk_agent", &[&url, "And now?"]), "It is \"21 °C in Paris\" (question 2)");

        // All of it is readable to every other program.
        let session = SessionId::new("adk/weather/user-42/session-1").expect("an id");
        let messages = open(&url).await.load(&session, &Load::all()).await.expect("a load").into_messages();
        let roles: Vec<_> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::Assistant].repeat(2));
        assert_eq!(messages[2].tool_call_id.as_deref(), messages[1].tool_calls[0].id());
        assert_eq!(Format::OpenAi.write(&messages)[2]["content"], "21 °C in Paris");
        assert_eq!(Format::LangChain.write(&messages)[1]["data"]["tool_calls"][0]["args"], json!({"city": "Paris"}));
    }
}

#[tokio::test]
async fn app_user_and_session_state_are_kept_separately() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-states", folder.path()).await {
        let (one, other) = (service(&url).await, service(&url).await);
        let state = [("own", json!(0)), ("app:shared", json!("a")), ("user:name", json!("Ada")), ("temp:x", json!(1))];
        create(&one, "s", &state).await.expect("created");
        create(&one, "t", &[]).await.expect("created");
        // More than one snapshot interval, from two services in turn, with enough changes of the app's state to write it out.
        for n in 0..50 {
            let from = if n % 2 == 0 { &one } else { &other };
            let delta = [("count", json!(n)), ("app:count", json!(n)), ("temp:gone", json!(n))];
            append(from, "s", event(&format!("e{n}"), &delta)).await.expect("appended");
        }
        for service in [&one, &other] {
            for recent in [Some(1), Some(5), Some(40), None] {
                let session = get(service, "s", recent, None).await;
                assert_eq!(session.events().len(), recent.unwrap_or(50));
                let expected = [
                    ("own", json!(0)),
                    ("count", json!(49)),
                    ("app:shared", json!("a")),
                    ("app:count", json!(49)),
                    ("user:name", json!("Ada")),
                ];
                let expected: HashMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value)).into();
                assert_eq!(session.state().all(), expected);
            }
            assert_eq!(get(service, "t", None, None).await.state().get("app:count"), Some(json!(49)));
        }
        assert_eq!(list(&other).await, ["s", "t"], "the last updated first, and nothing but sessions");
    }
}

#[tokio::test]
async fn rewind_removes_events_and_their_state_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-rewind", folder.path()).await {
        let service = service(&url).await;
        create(&service, "s", &[("own", json!("seed"))]).await.expect("created");
        for n in 0..20 {
            append(&service, "s", event(&format!("e{n}"), &[("count", json!(n))])).await.expect("appended");
        }
        let session = service.rewind("s", "e4").await.expect("rewound");
        assert_eq!(ids(&*session), ["e0", "e1", "e2", "e3", "e4"]);
        assert_eq!((session.state().get("count"), session.state().get("own")), (Some(json!(4)), Some(json!("seed"))));
        append(&service, "s", event("new", &[])).await.expect("appended");
        let session = service.rewind_steps("s", 2).await.expect("rewound");
        assert_eq!((ids(&*session).len(), session.state().get("count")), (4, Some(json!(3))));
        assert_eq!(service.rewind_steps("s", 0).await.expect("as it was").events().len(), 4);
        assert!(service.rewind_steps("s", 5).await.is_err_and(|error| error.category == ErrorCategory::InvalidInput));
        assert!(service.rewind("s", "e9").await.is_err_and(|error| error.message.contains("e9")));
        let session = service.rewind_steps("s", 4).await.expect("rewound");
        assert_eq!((ids(&*session).len(), session.state().all().len()), (0, 1));
        append(&service, "s", event("again", &[])).await.expect("appended");
        assert_eq!(ids(&*get(&service, "s", None, None).await), ["again"]);
    }
}

#[tokio::test]
async fn event_is_appended_only_to_an_existing_session() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-stale", folder.path()).await {
        let (one, other) = (service(&url).await, service(&url).await);
        assert!(append(&one, "s", event("early", &[])).await.is_err_and(|error| error.is_not_found()));
        create(&one, "s", &[]).await.expect("created");
        assert!(create(&other, "s", &[]).await.is_err_and(|error| error.code == "session.exists"));
        append(&one, "s", event("e0", &[])).await.expect("appended");
        append(&other, "s", event("e1", &[])).await.expect("appended");
        append(&one, "s", event("e2", &[])).await.expect("appended, though the service has an older end in mind");
        assert_eq!(ids(&*get(&one, "s", None, None).await), ["e0", "e1", "e2"]);

        let gone = DeleteRequest { app_name: "app".into(), user_id: "user".into(), session_id: "s".into() };
        other.delete(gone.clone()).await.expect("deleted");
        let late = append(&one, "s", event("late", &[])).await;
        assert!(late.is_err_and(|error| error.is_not_found()), "an older end in mind does not bring it back");
        other.delete(gone).await.expect("deleting again is no error");
        create(&other, "s", &[("own", json!(2))]).await.expect("created again");
        assert_eq!(get(&one, "s", None, None).await.state().get("own"), Some(json!(2)));
        assert_eq!(list(&one).await, ["s"], "it is listed again");
        one.delete_all_sessions("app", "user").await.expect("deleted");
        assert!(append(&other, "s", event("late", &[])).await.is_err_and(|error| error.is_not_found()));
    }
}

#[tokio::test]
async fn bare_session_id_must_be_unambiguous() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-ids", folder.path()).await {
        let service = service(&url).await;
        create(&service, "s", &[]).await.expect("created");
        service.append_event("s", event("e0", &[])).await.expect("the only one");
        let (app_name, user_id, session_id) = ("other".to_owned(), "user".to_owned(), "s".to_owned());
        let (app, user) = (app_name.clone(), user_id.clone());
        let other = CreateRequest { app_name, user_id, session_id: Some(session_id.clone()), state: HashMap::new() };
        service.create(other).await.expect("another app's");
        assert!(service.append_event("s", event("e1", &[])).await.is_err_and(|error| error.code == "session.ambiguous"));
        service.delete(DeleteRequest { app_name: app, user_id: user, session_id }).await.expect("deleted");
        service.append_event("s", event("e1", &[])).await.expect("the only one again");
        assert!(service.append_event("t", event("e", &[])).await.is_err_and(|error| error.is_not_found()));
        let ids = open(&url).await.load(&SessionId::new("adk-id/s").expect("an id"), &Load::all()).await.expect("a load");
        assert!(!ids.messages().any(|message| message.to_value().to_string().contains("other")), "nothing is left of who had it");
        service.health_check().await.expect("healthy");
    }
}

#[tokio::test]
async fn concurrent_runs_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-runs", folder.path()).await {
        create(&service(&url).await, "s", &[]).await.expect("created");
        let run = async |who: usize| {
            let service = service(&url).await;
            for n in 0..25 {
                let (id, key) = (format!("{who}/{n}"), format!("count{who}"));
                append(&service, "s", event(&id, &[(&key, json!(n)), ("app:last", json!(id))])).await.expect("appended");
            }
        };
        join_all([run(0), run(1)]).await;
        let session = get(&service(&url).await, "s", None, None).await;
        for who in 0..2 {
            let own: Vec<_> = ids(&*session).into_iter().filter(|id| id.starts_with(&format!("{who}/"))).collect();
            assert_eq!(own, (0..25).map(|n| format!("{who}/{n}")).collect::<Vec<_>>(), "each once, in order");
            assert_eq!(session.state().get(&format!("count{who}")), Some(json!(24)), "and no change of state is lost");
        }
        assert_eq!(session.events().len(), 50);
    }
}

#[tokio::test]
async fn records_of_other_programs_are_read_as_events() {
    let url = dynamodb_url("adk-others").await;
    let session = SessionId::new("adk/app/user/s").expect("an id");
    let turn = [Message::user("Where to?"), Message::assistant("To Lisbon.")];
    open(&url).await.append(&session, &Append::new(turn)).await.expect("appended");
    let service = service(&url).await;
    let found = get(&service, "s", None, None).await;
    assert_eq!(ids(&*found), ["record-0-0", "record-0-1"]);
    assert_eq!(found.events().at(1).map(|event| event.author.clone()).as_deref(), Some("agent"));
    append(&service, "s", event("e", &[("a", json!(1))])).await.expect("appended");
    assert_eq!(get(&service, "s", None, None).await.state().get("a"), Some(json!(1)));
    // Rewound into the middle of another program's record.
    create(&service, "t", &[]).await.expect("created, so that its id is known");
    let session = SessionId::new("adk/app/user/t").expect("an id");
    let turn = [Message::user("Where to?"), Message::assistant("To Lisbon.")];
    open(&url).await.append(&session, &Append::new(turn)).await.expect("appended");
    let session = service.rewind_steps("t", 1).await.expect("rewound");
    assert_eq!(session.events().len(), 1);
    assert_eq!(
        session.events().at(0).and_then(|event| event.content().cloned()).map(|content| content.role).as_deref(),
        Some("user")
    );
}

/// The cost of events, and the library's cost for the same.
#[tokio::test]
async fn event_cost_follows_its_size_and_a_window_is_one_request() {
    let url = dynamodb_url("adk-costs").await;
    let (store, service) = (open(&url).await, service(&url).await);
    create(&service, "s", &[("name", json!("Ada"))]).await.expect("created");
    for n in 0..400 {
        append(&service, "s", event(&format!("{n}"), &[])).await.expect("appended");
    }
    let session = SessionId::new("adk/app/user/s").expect("an id");
    let history = store.load(&session, &Load::last(40).single_message_records()).await.expect("a load");
    assert_eq!((history.cost.requests, history.records.len() >= 40), (1, true));
    let record = |history: &chat_memory::store::History| history.records[0].entries.clone();
    let bytes = record(&history).iter().map(|entry| entry.to_value().to_string().len()).sum::<usize>();
    println!("an event without text takes {bytes} bytes");
    assert!(bytes < 700, "{bytes}");
    // The record that starts a session and its entry in the directory are one transaction: two units each.
    let again = [Append::new(record(&history)), Append::new(record(&history))];
    assert_eq!((store.write_units(&session, &again[..1]), store.write_units(&session, &again)), (Some(4.0), Some(5.0)));
}
