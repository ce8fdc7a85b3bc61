//! Windows: what the model is shown of a history, as chosen by a policy.
//!
//! A [`Policy`] is a pure function over messages: everything, the last *n* messages, the last *n* turns, or what fits a budget of
//! tokens. [`recall`] loads a session through a policy and reads no more than the policy needs; [`BufferMemory`] does the same
//! with the interface that LangChain's users know.
//!
//! # What no policy ever shows
//! Model providers refuse a prompt in which a tool call has no result, or a result no call. Such messages get into a history when
//! a process dies between the two, or when an answer is removed by a rewind. So a model's calls and the results directly after
//! them form a group that is shown whole or not at all: a limit never splits it, and it is left out if a call's result is
//! missing, duplicated, or answers no call. [`Window::left_out`] reports how many messages were left out, and why. The history
//! itself is never changed.
//!
//! This holds for messages in the form of OpenAI's chat completions (`tool_calls`, and the older `function_call`), Ollama (calls
//! without ids, paired by name and position), Anthropic (`tool_use` and `tool_result` blocks, and tools that the provider runs),
//! Bedrock Converse (`toolUse`, `toolResult`), Gemini (`functionCall`, `functionResponse`), OpenAI's Responses API (items with a
//! `call_id`; reasoning stays with the output that follows it), the Vercel AI SDK, and LangChain. A message's form is detected
//! from its fields, and a history may mix forms.
//!
//! # Turns
//! A turn begins with a [user's message that contains no tool result](crate::Message::begins_turn) and extends to the next one.
//! Anthropic, Bedrock and Gemini put results into users' messages; these belong to the turn before, whatever else they contain.
//!
//! # An empty window
//! A limit may be too small for the newest message alone, or for a call and its results. The window is then empty, and
//! [`Omitted::does_not_fit`] says how large the limit would have to be.
//!
//! # Where a window begins
//! Some providers refuse a prompt that begins with the model's words. [`Policy::starting_at_user`] leaves out everything before
//! the first message that begins a turn.
//!
//! # System messages
//! A system message is a message like any other: a window that does not reach back to it does not show it. An application usually
//! sends its system prompt with each request, separately from the memory, and can then change it. If the prompt is part of the
//! history instead, [`Policy::keeping_system`] shows the system messages at its start with every window, at the cost of reading
//! the whole history.

mod buffer;
mod estimate;
mod groups;
mod policy;
mod recall;
mod tokens;
#[cfg(feature = "tokens")]
mod vocabulary;

pub use buffer::{BufferMemory, BufferMemoryBuilder, Variables};
pub use policy::{DoesNotFit, Limit, Omitted, Policy, Unit, Window};
pub use recall::{Recall, RecallRecords, recall, recall_records, recall_with};
pub use tokens::{CALL_OVERHEAD, Encoding, IMAGE_TOKENS, LOW_DETAIL_IMAGE_TOKENS, MESSAGE_OVERHEAD, NAME_OVERHEAD, TokenCounter};
