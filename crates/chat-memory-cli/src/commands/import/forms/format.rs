//! Detecting the format of a list of messages.

use chat_memory::wire::Format;
use serde_json::Value;

/// Detects the format by the types of the blocks and items. What several formats share, such as plain text, is the same message in
/// each, and counts as OpenAI's; so does a list that has signs of several.
pub fn detect(messages: &[Value]) -> Format {
    let mut signs = messages.iter().flat_map(signs);
    let Some(format) = signs.next().filter(|first| signs.all(|sign| sign == *first)) else { return Format::OpenAi };
    if format != Format::LangChain && format.read(messages.to_vec()).is_err() {
        return Format::OpenAi;
    }
    format
}

/// The formats that this message can only be of.
fn signs(message: &Value) -> Vec<Format> {
    let has = |field: &str| message.get(field).is_some_and(|value| !value.is_null());
    let kind = message["type"].as_str();
    let mut signs = Vec::new();
    if !has("role") {
        if kind.is_some() && message["data"].is_object() {
            signs.push(Format::LangChain);
        } else if kind.is_some() && Format::Responses.read(vec![message.clone()]).is_ok() {
            signs.push(Format::Responses);
        }
    }
    // The last ones mark what OpenAI's form keeps of another.
    let of_openai = ["tool_calls", "tool_call_id", "function_call", "openai_role", "anthropic", "responses", "langchain"];
    if of_openai.into_iter().any(has) || message["role"] == "function" {
        signs.push(Format::OpenAi);
    }
    let lists = [&message["content"], &message["output"]].into_iter().filter_map(Value::as_array);
    signs.extend(lists.flatten().filter_map(sign));
    signs
}

/// The only format that has such a block.
fn sign(block: &Value) -> Option<Format> {
    let kind = block["type"].as_str()?;
    match kind {
        "image_url" | "file" => Some(Format::OpenAi),
        "tool_use" | "server_tool_use" | "mcp_tool_use" | "thinking" | "redacted_thinking" | "search_result"
        | "container_upload" => Some(Format::Anthropic),
        "image" | "document" if block["source"].is_object() => Some(Format::Anthropic),
        _ if kind.ends_with("tool_result") => Some(Format::Anthropic),
        "input_text" | "output_text" | "input_image" | "input_file" => Some(Format::Responses),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chat_memory::Message;
    use serde_json::json;

    use super::*;

    /// The lists of values in a file of `testdata/kinds`.
    fn kinds(name: &str) -> Vec<Vec<Value>> {
        let path = format!("{}/../../testdata/kinds/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
        cases.iter().map(|case| case["values"].as_array().expect("values").clone()).collect()
    }

    #[test]
    fn detected_format_reads_the_same_messages_as_the_named_one() {
        for format in Format::ALL {
            let kinds = kinds(format.as_str());
            let others = kinds.iter().filter(|values| detect(values) != *format);
            for values in others.clone() {
                let read = |format: Format| format.read(values.clone()).unwrap_or_else(|e| panic!("{format}: {e}"));
                assert_eq!(read(detect(values)), read(*format), "{format}: {values:?}");
            }
            assert!(*format == Format::OpenAi || others.count() < kinds.len() / 2, "{format}: too few kinds are detected");
        }
        // What has no format of its own is stored as it is.
        for name in ["ai_sdk", "bedrock", "gemini"] {
            kinds(name).iter().for_each(|values| assert_eq!(detect(values), Format::OpenAi, "{name}: {values:?}"));
        }
    }

    #[test]
    fn signs_of_several_formats_are_read_as_openai() {
        let block = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "21"}]});
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function"}]});
        let item = json!({"type": "function_call_output", "call_id": "c", "output": "21"});
        assert_eq!(detect(std::slice::from_ref(&block)), Format::Anthropic);
        assert_eq!(detect(std::slice::from_ref(&item)), Format::Responses);
        for other in [&call, &item] {
            assert_eq!(detect(&[block.clone(), other.clone()]), Format::OpenAi);
        }
        assert_eq!(detect(&[Message::user("Hi").to_value()]), Format::OpenAi);
    }
}
