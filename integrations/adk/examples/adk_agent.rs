//! An agent of adk-rust with a tool, whose session outlives the program. Run it twice on the same store:
//!
//! `cargo run -p chat-memory-adk --example adk_agent -- sqlite:chat.db "How is the weather in Paris?"`
//!
//! The model is a fake, so that it runs anywhere; replace it with one of `adk_model`.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use adk_agent::LlmAgentBuilder;
use adk_core::identity::{AdkIdentity, AppName, SessionId, UserId};
use adk_core::{Content, Llm, LlmRequest, LlmResponse, LlmResponseStream, Part};
use adk_runner::Runner;
use adk_session::{CreateRequest, SessionService};
use adk_tool::FunctionTool;
use async_trait::async_trait;
use chat_memory_adk::ChatSessionService;
use futures_util::StreamExt;
use serde_json::json;

/// Calls the tool once, then answers with its result and the number of messages that it saw.
struct FakeModel;

#[async_trait]
impl Llm for FakeModel {
    fn name(&self) -> &str {
        "fake"
    }

    async fn generate_content(&self, request: LlmRequest, _: bool) -> adk_core::Result<LlmResponseStream> {
        let parts = || request.contents.iter().flat_map(|content| &content.parts);
        let result = request.contents.last().and_then(|content| {
            content.parts.iter().find_map(|part| match part {
                Part::FunctionResponse { function_response, .. } => Some(function_response.response.to_string()),
                _ => None,
            })
        });
        let questions = parts().filter(|part| matches!(part, Part::Text { text } if text.ends_with('?'))).count();
        let mut content = Content::new("model");
        content.parts.push(match result {
            Some(result) => Part::Text { text: format!("It is {result} (question {questions})") },
            None => Part::FunctionCall {
                name: "weather".into(),
                args: json!({"city": "Paris"}),
                id: Some(format!("call_{}", request.contents.len())),
                thought_signature: None,
            },
        });
        let mut response = LlmResponse::new(content);
        response.turn_complete = true;
        Ok(Box::pin(futures_util::stream::iter([Ok(response)])))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let store = chat_memory::open(args.next().as_deref().unwrap_or("memory:")).await?;
    let question = args.next().unwrap_or_else(|| "How is the weather in Paris?".into());

    let service = Arc::new(ChatSessionService::new(store));
    let (app, user, session) = ("weather", "user-42", "session-1");
    let identity = AdkIdentity::new(AppName::try_from(app)?, UserId::try_from(user)?, SessionId::try_from(session)?);
    if service.get_for_identity(&identity).await.is_err_and(|error| error.is_not_found()) {
        let (app_name, user_id, session_id) = (app.into(), user.into(), Some(session.into()));
        service.create(CreateRequest { app_name, user_id, session_id, state: HashMap::new() }).await?;
    }
    let weather = FunctionTool::new("weather", "The weather in a city", |_, args| async move {
        Ok(json!(format!("21 °C in {}", args["city"].as_str().unwrap_or("an unknown city"))))
    });
    let agent = LlmAgentBuilder::new("forecaster").model(Arc::new(FakeModel)).tool(Arc::new(weather)).build()?;
    let runner = Runner::builder().app_name(app).agent(Arc::new(agent)).session_service(service).build()?;
    let question = Content::new("user").with_text(question);
    let mut events = runner.run(identity.user_id, identity.session_id, question).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if let (true, Some(Part::Text { text })) = (event.is_final_response(), event.content().and_then(|c| c.parts.first())) {
            println!("{text}");
        }
    }
    Ok(())
}
