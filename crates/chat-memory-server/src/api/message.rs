//! Messages as the document describes them. The library reads and writes them.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};

/// A chat message in either format.
#[derive(Debug)]
pub struct ChatMessage;

impl ToSchema for ChatMessage {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ChatMessage")
    }
}

impl PartialSchema for ChatMessage {
    fn schema() -> RefOr<Schema> {
        let about = "A chat message: OpenAI's (Anthropic's and Bedrock's are the same, with blocks as `content`), a content of Gemini's, or an item of \
            OpenAI's Responses API; with `?format=langchain` LangChain's stored message. Unknown fields are kept as they are";
        AnyOfBuilder::new()
            .item(openai())
            .item(gemini())
            .item(item())
            .item(langchain())
            .description(Some(about))
            .examples([json!({"role": "user", "content": "Where should we go in May?"})])
            .into()
    }
}

fn openai() -> Object {
    let text = || of(Type::String);
    let parts = ArrayBuilder::new().items(any_object()).description(Some("Parts, such as texts and images"));
    let content = OneOfBuilder::new().item(text()).item(parts).item(of(Type::Null));
    let roles = ["system", "developer", "user", "assistant", "tool", "function"];
    let calls = SchemaType::from_iter([Type::Array, Type::Null]);
    ObjectBuilder::new()
        .title(Some("OpenAI"))
        .property(
            "role",
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(roles)).description(Some("Who says it")),
        )
        .required("role")
        .property("content", content.description(Some("A text, a list of parts, or null")))
        .property("name", ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null])))
        .property(
            "tool_calls",
            ArrayBuilder::new().schema_type(calls).items(any_object()).description(Some("The calls of an assistant")),
        )
        .property("tool_call_id", text().description(Some("The call that a tool's message answers")))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

fn gemini() -> Object {
    ObjectBuilder::new()
        .title(Some("Gemini"))
        .property("role", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["user", "model", "function"])))
        .required("role")
        .property("parts", ArrayBuilder::new().items(any_object()))
        .required("parts")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

/// An item that is not a message and therefore has no role.
fn item() -> Object {
    let kinds =
        ["function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "web_search_call", "reasoning"];
    let about = "Its kind: these, any other `…_call` and `…_call_output`, `mcp_list_tools`, `mcp_approval_request`, `mcp_approval_response`";
    ObjectBuilder::new()
        .title(Some("Responses"))
        .property("type", of(Type::String).enum_values(Some(kinds)).description(Some(about)))
        .required("type")
        .property("call_id", of(Type::String).description(Some("What a call and its output have in common")))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

fn langchain() -> Object {
    ObjectBuilder::new()
        .title(Some("LangChain"))
        .property("type", of(Type::String).description(Some("human, ai, system, tool, …")))
        .required("type")
        .property("data", any_object())
        .required("data")
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .build()
}

fn of(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

fn any_object() -> ObjectBuilder {
    of(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true)))
}
