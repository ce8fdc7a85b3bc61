//! One conversation through every framework: each writes a turn with a tool call and reads all of them, and so does the program.

use std::sync::Arc;

use adk_core::identity::{AdkIdentity, AppName, SessionId as AdkSession, UserId};
use adk_core::{Content, Event, FunctionResponseData, Part};
use adk_session::{AppendEventRequest, SessionService};
use chat_memory::store::{Append, Load};
use chat_memory::wire::Format;
use chat_memory::{ChatStore, Message as Ours, SessionId, ToolCall};
use chat_memory_adk::ChatSessionService;
use chat_memory_testkit::children::built;
use chat_memory_testkit::store_urls;
use langchain_rust::schemas::Message as LangChain;
use langchain_rust::schemas::memory::BaseMemory;
use rig_core::completion::Message as Rig;
use rig_core::memory::ConversationMemory;
use serde_json::{Value, json};

/// The name that all of them use: the one that adk-rust's identity yields.
const SESSION: &str = "adk/app/user/s";

async fn open(url: &str) -> Arc<dyn ChatStore> {
    chat_memory::open(url).await.expect("it opens")
}

fn identity() -> AdkIdentity {
    let app = AppName::try_from("app").expect("a name");
    AdkIdentity::new(app, UserId::try_from("user").expect("an id"), AdkSession::try_from("s").expect("an id"))
}

/// Each turn: a question, a call, its result, an answer. The letter says who wrote it.
async fn write_all(store: &Arc<dyn ChatStore>) {
    let session = SessionId::new(SESSION).expect("an id");
    let call =
        |id: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}});
    let call_of = |id: &str| ToolCall::from(call(id).as_object().cloned().unwrap_or_default());
    let ours = [Ours::user("o?"), Ours::tool_calls([call_of("o")]), Ours::tool("o", "21"), Ours::assistant("o!")];
    store.append(&session, &Append::new(ours)).await.expect("ours");

    let langchain = chat_memory_langchain::ChatMemory::new(store.clone(), session);
    let turn = [
        LangChain::new_human_message("l?"),
        LangChain::new_ai_message("").with_tool_calls(json!([call("l")])),
        LangChain::new_tool_message("21", "l"),
        LangChain::new_ai_message("l!"),
    ];
    langchain.add_messages(turn).await.expect("langchain-rust's");

    let rig_call =
        json!({"type": "toolcall", "id": {"provider": "r"}, "function": {"name": "weather", "arguments": {"city": "Paris"}}});
    let rig_result =
        json!({"type": "toolresult", "call": {"provider": "r"}, "name": "weather", "content": [{"type": "text", "text": "21"}]});
    let message = |value: Value| serde_json::from_value::<Rig>(value).expect("a message of rig's");
    let call = message(json!({"role": "assistant", "content": [rig_call]}));
    let result = message(json!({"role": "user", "content": [rig_result]}));
    let turn = vec![Rig::user("r?"), call, result, Rig::assistant("r!")];
    chat_memory_rig::ChatMemory::new(store.clone()).append(&SESSION.into(), turn).await.expect("rig's");

    let adk = ChatSessionService::new(store.clone());
    let call = Part::FunctionCall {
        name: "weather".into(),
        args: json!({"city": "Paris"}),
        id: Some("a".into()),
        thought_signature: None,
    };
    let function_response = FunctionResponseData::new("weather", json!("21"));
    let result = Part::FunctionResponse { function_response, id: Some("a".into()), annotations: None };
    let text = |text: &str| Part::Text { text: text.into() };
    for (role, part) in [("user", text("a?")), ("model", call), ("function", result), ("model", text("a!"))] {
        let mut event = Event::new("invocation");
        event.set_content(Content { role: role.into(), parts: vec![part] });
        adk.append_event_for_identity(AppendEventRequest { identity: identity(), event }).await.expect("adk-rust's");
    }
}

#[tokio::test]
async fn every_integration_reads_what_the_others_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("across", folder.path()).await {
        let store = open(&url).await;
        write_all(&store).await;
        let session = SessionId::new(SESSION).expect("an id");
        let all = store.load(&session, &Load::all()).await.expect("a load").into_messages();
        assert_eq!(all.len(), 16);

        // As OpenAI and LangChain messages, and by the program.
        for (n, who) in ["o", "l", "r", "a"].into_iter().enumerate() {
            let turn = &all[4 * n..][..4];
            let openai = Format::OpenAi.write(turn);
            assert_eq!(openai[0]["content"], format!("{who}?"));
            assert_eq!((&openai[1]["tool_calls"][0]["id"], &openai[2]["tool_call_id"]), (&json!(who), &json!(who)));
            let stored = Format::LangChain.write(turn);
            assert_eq!(stored[1]["data"]["tool_calls"][0]["args"], json!({"city": "Paris"}));
        }
        let shown = built("chat-memory", &["--store", &url, "show", SESSION]);
        for text in ["o?", "l!", "r?", "a!", "weather"] {
            assert!(shown.contains(text), "{text} in {shown}");
        }

        let langchain = chat_memory_langchain::ChatMemory::new(store.clone(), session).messages().await.expect("a load");
        let kinds: Vec<_> = langchain.iter().map(|message| message.message_type.to_string()).collect();
        assert_eq!(kinds, ["human", "ai", "tool", "ai"].repeat(4));
        assert!(langchain.iter().filter(|message| message.tool_calls.is_some()).count() == 4);

        let rig = chat_memory_rig::ChatMemory::new(store.clone()).load(&SESSION.into()).await.expect("a load");
        let rig = serde_json::to_value(rig).expect("JSON");
        for n in 0..4 {
            assert_eq!(rig[4 * n + 1]["content"][0]["function"]["arguments"]["city"], "Paris");
            assert_eq!(rig[4 * n + 2]["content"][0]["name"], "weather");
        }

        let adk = ChatSessionService::new(store).get_for_identity(&identity()).await.expect("the session");
        let events = adk.events().all();
        assert_eq!(events.len(), 16);
        assert_eq!(events.iter().map(|event| event.tool_calls().len()).sum::<usize>(), 4);
        assert_eq!(events.iter().map(|event| event.tool_results().len()).sum::<usize>(), 4);
    }
}
