use serde_json::json;

use super::*;
use crate::message::ToolCall;
use crate::store::{ChatStore, InMemoryStore};

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(task)
}

fn builder() -> BufferMemoryBuilder<InMemoryStore> {
    BufferMemory::builder(InMemoryStore::new())
}

fn built(builder: BufferMemoryBuilder<InMemoryStore>) -> BufferMemory<InMemoryStore> {
    builder.build().expect("good settings")
}

/// Returns the question and answer that a memory with these settings takes from these variables, or the reason why it takes none.
fn taken(builder: BufferMemoryBuilder<InMemoryStore>, inputs: Value, outputs: Value) -> Result<(String, String), String> {
    let map = |value: Value| value.as_object().expect("an object").clone();
    let append = built(builder).turn(map(inputs), map(outputs)).map_err(|e| {
        assert!(e.is_invalid());
        e.to_string()
    })?;
    let [question, answer] = append.messages().collect::<Vec<_>>()[..] else { panic!("one question, one answer") };
    assert_eq!((question.role, answer.role), (Role::User, Role::Assistant));
    Ok((question.text(), answer.text()))
}

#[test]
fn question_and_answer_are_one_append() {
    run(async {
        let memory = built(builder());
        for n in 0..3 {
            let appended =
                memory.save_context([("input", format!("{n}?"))], [("output".to_owned(), format!("{n}!"))]).await.expect("saved");
            assert_eq!(appended.seq, n);
        }
        let variables = memory.load_memory_variables().await.expect("loaded");
        assert_eq!(variables.text(), "Human: 0?\nAI: 0!\nHuman: 1?\nAI: 1!\nHuman: 2?\nAI: 2!");
        assert_eq!(variables.to_map(), *json!({"chat_history": variables.text()}).as_object().expect("an object"));
        assert_eq!((variables.position.next(), variables.cost.requests), (3, 1));
        assert_eq!(memory.clear().await.expect("cleared").appended.seq, 3);
        assert_eq!(memory.load_memory_variables().await.expect("loaded").text(), "");
    });
}

#[test]
fn input_and_output_keys_are_detected_as_in_langchain() {
    let good = Ok(("q".to_owned(), "a".to_owned()));
    let out = || json!({"answer": "a"});
    assert_eq!(taken(builder(), json!({"question": "q"}), out()), good);
    assert_eq!(taken(builder(), json!({"question": "q", "stop": ["\n"], "chat_history": "…"}), out()), good);
    assert_eq!(taken(builder().memory_key("past"), json!({"question": "q", "past": "…"}), out()), good);
    assert_eq!(taken(builder().input_key("b"), json!({"a": "x", "b": "q"}), out()), good);
    assert_eq!(taken(builder(), json!({"q": "q"}), json!({"output": "a", "sources": "s"})), good);
    assert_eq!(taken(builder().output_key("b"), json!({"q": "q"}), json!({"output": "x", "b": "a"})), good);

    let error = |builder, inputs, outputs| taken(builder, inputs, outputs).expect_err("must be refused");
    assert_eq!(
        error(builder(), json!({"a": "x", "b": "y"}), out()),
        "ambiguous input: the user's message may be any of \"a\", \"b\"; set input_key"
    );
    assert_eq!(
        error(builder(), json!({"q": "q"}), json!({"a": "x", "b": "y"})),
        "ambiguous output: the answer may be any of \"a\", \"b\"; set output_key"
    );
    assert!(error(builder(), json!({"stop": "x"}), out()).ends_with("given: \"stop\""));
    assert!(error(builder(), json!({"q": "q"}), json!({})).contains("missing output"));
    assert_eq!(error(builder().input_key("c"), json!({"a": "x"}), out()), "missing input \"c\"; given: \"a\"");
    assert!(error(builder(), json!({"q": 7}), out()).contains("expected a string or a list of content parts, found a number"));
    assert!(error(builder(), json!({"q": ["x"]}), out()).contains("each item of the list must be a content part"));
}

#[test]
fn content_parts_are_kept() {
    let parts = json!([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:x"}}]);
    let append = built(builder()).turn([("q", parts.clone())], [("a", "A boat.")]).expect("good");
    assert_eq!(append.entries()[0].to_value()["content"], parts);
}

#[test]
fn invalid_settings_are_refused_by_build() {
    for bad in [builder().memory_key(""), builder().input_key(""), builder().output_key(""), builder().input_key("chat_history")]
    {
        assert!(bad.build().expect_err("must be refused").is_invalid());
    }
}

#[test]
fn session_id_is_generated_when_none_is_given() {
    let memory = built(builder());
    let id: uuid::Uuid = memory.session().as_str().parse().expect("a UUID");
    assert_eq!(id.get_version_num(), 7);
    assert_ne!(built(builder()).session(), memory.session());
    let session = SessionId::new("mine").expect("a good id");
    assert_eq!(built(builder().session(session.clone())).session(), &session);
}

#[test]
fn text_has_prefixes_and_tools_while_messages_are_unchanged() {
    run(async {
        let memory = built(builder().human_prefix("Guest").ai_prefix("Host").return_messages(true));
        let messages = vec![
            Message::system("Be brief."),
            Message::user("Weather?"),
            Message::tool_calls([ToolCall::function("c", "get_weather", r#"{"city": "Paris"}"#)]),
            Message::tool("c", "21 °C"),
            Message::assistant("It is 21 °C."),
        ];
        memory.append(messages.clone()).await.expect("stored");
        let variables = memory.load_memory_variables().await.expect("loaded");
        assert_eq!(
            variables.text(),
            "System: Be brief.\nGuest: Weather?\nHost: [calls get_weather({\"city\": \"Paris\"})]\nTool: 21 °C\nHost: It is 21 °C."
        );
        assert_eq!(variables.value(), messages.iter().map(Message::to_value).collect::<Value>());
    });
}

#[test]
fn policy_limits_the_window_and_reports_omissions() {
    run(async {
        let memory = built(builder().policy(Policy::last_messages(2)));
        for n in 0..4 {
            memory.save_context([("q", format!("{n}?"))], [("a", format!("{n}!"))]).await.expect("saved");
        }
        memory.append([Message::tool_calls([ToolCall::function("c", "f", "{}")])]).await.expect("stored");
        let variables = memory.load_memory_variables().await.expect("loaded");
        assert_eq!(variables.text(), "Human: 3?\nAI: 3!");
        assert_eq!((variables.window.left_out.unanswered, variables.window.left_out.unread), (1, true));
    });
}

#[test]
fn started_session_gets_the_owner() {
    run(async {
        let owner = Owner::new("ada").expect("a good name");
        let memory = built(builder().owner(owner.clone()));
        assert!(memory.save_context([("q", "?")], [("a", "!")]).await.expect("saved").started);
        let info = memory.store().session(memory.session()).await.expect("listed").expect("there");
        assert_eq!(info.owner, Some(owner));
    });
}

#[test]
fn turn_with_a_key_is_stored_once() {
    run(async {
        let store: Arc<dyn ChatStore> = Arc::new(InMemoryStore::new());
        let memory: BufferMemory = BufferMemory::builder(store).build().expect("good settings");
        let turn = || memory.turn([("q", "?")], [("a", "!")]).expect("good").with_key("request-1");
        assert!(!memory.append_as(turn()).await.expect("stored").repeated);
        assert!(memory.append_as(turn()).await.expect("found").repeated);
        assert_eq!(memory.load_memory_variables().await.expect("loaded").messages().len(), 2);
    });
}

#[test]
fn buffer_memory_futures_are_send() {
    fn sendable<T: Send>(task: T) -> T {
        task
    }
    run(async {
        let memory = built(builder());
        sendable(memory.save_context([("q", "?")], [("a", "!")])).await.expect("saved");
        sendable(memory.append([Message::user("?")])).await.expect("stored");
        sendable(memory.load_memory_variables()).await.expect("loaded");
        sendable(memory.clear()).await.expect("cleared");
    });
}
