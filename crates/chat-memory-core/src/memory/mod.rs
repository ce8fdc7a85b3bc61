//! What the model is shown: a history through a policy.
//!
//! A [`Policy`] is a pure function over messages: everything, the last *n* messages, the last *n* turns, or what fits a budget
//! of tokens. [`recall`] takes a session from a store through a policy, and reads no more of it than the policy needs;
//! [`BufferMemory`] is the same as LangChain's users know it.
//!
//! # What no policy ever shows
//! Model providers refuse a prompt in which a model's tool call has no result, or a result no call. Such messages get
//! into a history when a process dies between the two, or when an answer is taken back. So a model's calls and the results
//! directly behind them are one group, shown whole or not at all: a limit never cuts through it, and
//! it is left out where a call's result is not there, is there twice, or answers no call.
//! [`Window::left_out`] says how many messages were left out, and why. The history itself is never changed.
//!
//! This holds for messages in the form of OpenAI's chat completions (`tool_calls`, and the older `function_call`), Ollama (calls without
//! ids, paired by name and position), Anthropic (`tool_use` and `tool_result` blocks, and tools that the provider runs), Bedrock Converse
//! (`toolUse`, `toolResult`), Gemini (`functionCall`, `functionResponse`), OpenAI's Responses API (items with a `call_id`; reasoning stays with the
//! output that follows it), the Vercel AI SDK, and LangChain. A message's form is told by its fields, and a history may mix them.
//!
//! # Turns
//! A turn begins with a [user's message that holds no tool's result](crate::Message::begins_turn), and has all up to the next one.
//! Anthropic's, Bedrock's and Gemini's results are in users' messages, which therefore belong to the turn before, whatever else they say.
//!
//! # An empty window
//! A limit may be too small for the newest message alone, or for a call and its results. The window is then empty, and
//! [`LeftOut::does_not_fit`] says how large the limit would have to be.
//!
//! # Where a window begins
//! Some providers refuse a prompt that begins with the model's words. [`Policy::starting_at_user`] leaves out what would be shown before
//! the first message that begins a turn.
//!
//! # System messages
//! A system message is a message like any other: a window that does not reach back to it does not show it. An
//! application gives its system prompt with each request, beside the memory, and then can change it. Where the prompt lives in
//! the history instead, [`Policy::keeping_system`] shows those at its start with every window, which costs the reading of
//! the whole history.

mod buffer;
mod estimate;
mod groups;
mod policy;
mod recall;
mod tokens;

pub use buffer::{BufferMemory, BufferMemoryBuilder, Variables};
pub use policy::{DoesNotFit, LeftOut, Limit, Policy, Unit, Window};
pub use recall::{Recalled, RecalledRecords, recall, recall_by, recall_records};
pub use tokens::{CALL_OVERHEAD, Encoding, IMAGE_TOKENS, LOW_DETAIL_IMAGE_TOKENS, MESSAGE_OVERHEAD, NAME_OVERHEAD, TokenCounter};
