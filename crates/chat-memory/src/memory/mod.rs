//! What the model is shown: a history through a policy.
//!
//! A [`Policy`] is a pure function over messages: everything, the last *n* messages, the last *n* turns, or what fits a budget
//! of tokens. [`recall`] takes a session from a store through a policy, and reads no more of it than the policy needs;
//! [`BufferMemory`] is the same as LangChain's users know it.
//!
//! # What no policy ever shows
//! Model providers refuse a prompt in which an assistant's tool call has no result, or a result no call. Such messages get
//! into a history when a process dies between the two, or when an answer is taken back. So an assistant's message that
//! calls tools and the results directly behind it are one group, shown whole or not at all: a limit never cuts through it, and
//! it is left out where a call's result is not there, is there twice, or answers no call of that message.
//! [`Window::left_out`] says how many messages were left out, and why. The history itself is never changed.
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
