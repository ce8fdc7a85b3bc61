//! Counts tokens: exactly for text, with tiktoken's vocabularies (feature `tokens`), or by an estimate.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Error;
#[cfg(not(feature = "tokens"))]
use crate::error::ErrorKind;
use crate::message::{Content, Message, Part, tools};
use crate::wire::openai;

use super::estimate::estimate;

/// Tokens of a message in addition to its text: the marks around it. This and [`NAME_OVERHEAD`] are the numbers in OpenAI's own
/// recipe for counting chat messages, for its models since `gpt-3.5-turbo-0613`.
pub const MESSAGE_OVERHEAD: u64 = 3;

/// Tokens of a name in addition to its text.
pub const NAME_OVERHEAD: u64 = 1;

/// Tokens of a tool call in addition to its function's name and its arguments. OpenAI publishes no number; this one equals a
/// message's.
pub const CALL_OVERHEAD: u64 = 3;

/// Fields of an item of OpenAI's Responses API that no model is shown.
const ITEM_FIELDS_UNSEEN: [&str; 5] = [openai::ROLE_KEY, "type", "call_id", "status", "encrypted_content"];

/// Tokens of an image: OpenAI's published price of a square of 1,024 pixels in high detail (85 + 4 tiles of 170). This is a
/// convention, since the message does not contain the image's real size.
pub const IMAGE_TOKENS: u64 = 765;

/// Tokens of a low-detail image: OpenAI's published price, whatever its size.
pub const LOW_DETAIL_IMAGE_TOKENS: u64 = 85;

/// A tiktoken vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// `o200k_base`: gpt-4o, gpt-4.1, gpt-5, o1, o3, o4-mini.
    O200kBase,
    /// `cl100k_base`: gpt-4, gpt-3.5-turbo.
    Cl100kBase,
}

impl Encoding {
    /// Returns the vocabulary's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::O200kBase => "o200k_base",
            Self::Cl100kBase => "cl100k_base",
        }
    }
}

/// Counts a message's tokens.
///
/// A message counts [`MESSAGE_OVERHEAD`], its role, and the texts of:
/// - its content, or each text part, in any provider's form; in OpenAI's Responses form, what an item holds. An image part counts
///   [`IMAGE_TOKENS`], or [`LOW_DETAIL_IMAGE_TOKENS`] if its `detail` is `low`, and never the length of its data. Any other part
///   counts as its JSON text, which is far too much for embedded data: a budget errs on the safe side;
/// - its name, and [`NAME_OVERHEAD`];
/// - each tool call's function name and arguments, and [`CALL_OVERHEAD`]; likewise a `function_call` of the older kind;
/// - its `refusal`.
///
/// Ids and other fields are not shown to a model and count nothing. A whole request takes a few tokens more (3 for the start of
/// the answer, and the definitions of tools), so leave room for them in a budget.
///
/// ```
/// use chat_memory::Message;
/// use chat_memory::memory::TokenCounter;
/// let tokens = TokenCounter::estimate().count(&Message::user("What is the weather in Paris?"));
/// assert_eq!(tokens, 3 + 1 + 7);
/// ```
#[derive(Clone)]
pub struct TokenCounter(Kind);

#[derive(Clone)]
enum Kind {
    Estimate,
    #[cfg(feature = "tokens")]
    Exact(Encoding),
    Custom(Arc<dyn Fn(&Message) -> u64 + Send + Sync>),
}

impl TokenCounter {
    /// Counts by an estimate that needs no vocabulary: about one token per short word, per three digits, per two or three
    /// punctuation marks, and per Chinese, Japanese or Korean character.
    ///
    /// Compared with `o200k_base` on 100 real conversations in English with tool calls (2,658 messages, 361,000 tokens), the
    /// estimate is 8 % too high in total and 6 to 13 % too high per conversation, so a budget is kept. Other languages and code
    /// range from an eighth too low to six tenths too high; embedded random data (base64) is a seventh too low. Compared with the
    /// older `cl100k_base`, it is much the same for English, but up to six tenths too low for languages in other alphabets. The
    /// project's tests check these numbers.
    pub fn estimate() -> Self {
        Self(Kind::Estimate)
    }

    /// Counts text exactly, with this vocabulary.
    ///
    /// # Errors
    /// Unsupported in a build without the feature `tokens`.
    pub fn exact(encoding: Encoding) -> Result<Self, Error> {
        #[cfg(feature = "tokens")]
        return Ok(Self(Kind::Exact(encoding)));
        #[cfg(not(feature = "tokens"))]
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("missing vocabulary {}: build with the feature `tokens`, or use the estimate", encoding.as_str()),
        ))
    }

    /// Counts text exactly, with the vocabulary of this OpenAI model.
    ///
    /// # Errors
    /// Invalid if the vocabulary of this model is unknown. Unsupported in a build without the feature `tokens`.
    pub fn for_model(model: &str) -> Result<Self, Error> {
        #[cfg(feature = "tokens")]
        {
            use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};
            match get_tokenizer(model) {
                // Both have the same tokens for text; harmony adds marks that occur in no message's text.
                Some(Tokenizer::O200kBase | Tokenizer::O200kHarmony) => Self::exact(Encoding::O200kBase),
                Some(Tokenizer::Cl100kBase) => Self::exact(Encoding::Cl100kBase),
                _ => Err(Error::invalid(format!(
                    "unknown vocabulary of the model {model:?}: name an OpenAI chat model, or use the estimate"
                ))),
            }
        }
        #[cfg(not(feature = "tokens"))]
        Self::exact(Encoding::O200kBase).map_err(|e| e.context(format_args!("counting tokens for the model {model:?}")))
    }

    /// Counts with the caller's own function. Each message must count at least 1.
    pub fn custom(count: impl Fn(&Message) -> u64 + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Arc::new(count)))
    }

    /// Returns the message's tokens.
    pub fn count(&self, message: &Message) -> u64 {
        match &self.0 {
            Kind::Custom(count) => count(message).max(1),
            Kind::Estimate => count_with(message, &estimate),
            #[cfg(feature = "tokens")]
            Kind::Exact(encoding) => count_with(message, &|text| super::vocabulary::count(*encoding, text)),
        }
    }
}

/// Counts exactly with `o200k_base` if the feature `tokens` is on; otherwise estimates.
impl Default for TokenCounter {
    fn default() -> Self {
        Self::exact(Encoding::O200kBase).unwrap_or_else(|_| Self::estimate())
    }
}

impl fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Estimate => f.write_str("TokenCounter(estimate)"),
            #[cfg(feature = "tokens")]
            Kind::Exact(encoding) => write!(f, "TokenCounter({})", encoding.as_str()),
            Kind::Custom(_) => f.write_str("TokenCounter(custom)"),
        }
    }
}

fn count_with(message: &Message, text: &dyn Fn(&str) -> u64) -> u64 {
    let mut tokens = MESSAGE_OVERHEAD + text(message.role.as_str());
    match &message.content {
        Some(Content::Text(content)) => tokens += text(content),
        _ => tokens += message.parts().iter().map(|part| count_part(part.fields(), text)).sum::<u64>(),
    }
    if tools::is_item(message) {
        // An item's content is in fields of its own: arguments, output, a summary.
        let said = message.extra.iter().filter(|(key, _)| !ITEM_FIELDS_UNSEEN.contains(&key.as_str()));
        tokens += said.map(|(_, value)| count_value(value, text)).sum::<u64>();
    }
    if let Some(name) = &message.name {
        tokens += NAME_OVERHEAD + text(name);
    }
    for call in &message.tool_calls {
        tokens += CALL_OVERHEAD;
        tokens += match (call.name(), call.arguments()) {
            (Some(name), Some(arguments)) => text(name) + text(arguments),
            // A call of another kind counts as a whole.
            _ => text(&Value::from(call.fields().clone()).to_string()),
        };
    }
    if let Some(call) = openai::function_call(message) {
        let said = |field: &str| call.get(field).and_then(|value| value.as_str()).map_or(0, text);
        tokens += CALL_OVERHEAD + said("name") + said("arguments");
    }
    tokens + message.extra.get("refusal").and_then(|refusal| refusal.as_str()).map_or(0, text)
}

fn count_part(part: &Map<String, Value>, text: &dyn Fn(&str) -> u64) -> u64 {
    if let Some(content) = Part::text_of(part) {
        return text(content);
    }
    if is_image(part) {
        let detail = part.get("image_url").and_then(|image| image.get("detail")).or(part.get("detail"));
        return if detail.is_some_and(|detail| detail == "low") { LOW_DETAIL_IMAGE_TOKENS } else { IMAGE_TOKENS };
    }
    // A tool's result may contain parts of its own, such as images.
    let inner = part.get("toolResult").unwrap_or(&Value::Null).get("content").or(part.get("content"));
    match inner {
        Some(Value::Array(parts)) => CALL_OVERHEAD + parts.iter().map(|part| count_value(part, text)).sum::<u64>(),
        _ => text(&Value::from(part.clone()).to_string()),
    }
}

fn count_value(value: &Value, text: &dyn Fn(&str) -> u64) -> u64 {
    match value {
        Value::Null => 0,
        Value::String(said) => text(said),
        Value::Object(part) => count_part(part, text),
        Value::Array(parts) => parts.iter().map(|part| count_value(part, text)).sum(),
        other => text(&other.to_string()),
    }
}

/// Whether a part is an image: by its type, or in Bedrock's or Gemini's form.
fn is_image(part: &Map<String, Value>) -> bool {
    let data = ["inlineData", "inline_data", "fileData", "file_data"].iter().find_map(|name| part.get(*name));
    let kind = data.and_then(|data| data.get("mimeType").or(data.get("mime_type"))).and_then(Value::as_str);
    matches!(part.get("type").and_then(Value::as_str), Some("image_url" | "image" | "input_image" | "computer_screenshot"))
        || (!part.contains_key("type") && part.get("image").is_some_and(Value::is_object))
        || kind.is_some_and(|kind| kind.starts_with("image/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_returns_at_least_one_token() {
        assert_eq!(TokenCounter::custom(|_| 0).count(&Message::user("x")), 1);
        assert_eq!(TokenCounter::estimate().count(&Message { content: None, ..Message::user("") }), 4);
    }

    #[cfg(not(feature = "tokens"))]
    #[test]
    fn build_without_vocabularies_estimates_tokens() {
        let error = TokenCounter::for_model("gpt-4o").expect_err("not in this build");
        assert!(error.is_unsupported() && error.to_string().contains("feature `tokens`"), "{error}");
        let message = Message::user("What is the weather in Paris?");
        assert_eq!(TokenCounter::default().count(&message), TokenCounter::estimate().count(&message));
    }
}
