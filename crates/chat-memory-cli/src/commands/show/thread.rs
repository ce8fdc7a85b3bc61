//! `show --thread`

use chat_memory::memory::{Omitted, Policy};
use chat_memory::wire::Format;
use chat_memory::{Entry, Message, SessionId};
use chat_memory_server::threads::{self, PendingWrite, ThreadState};
use serde_json::json;

use super::{as_lines, other_count, say_left_out, written};
use crate::app::App;
use crate::commands::thread_id;
use crate::commands::threads::{checkpoint_line, say_none};
use crate::escape::shell_word;
use crate::failure::Failure;
use crate::output::say;

/// How to print a thread.
pub(super) struct Shown {
    pub(super) policy: Option<Policy>,
    /// `None` for text.
    pub(super) format: Option<Format>,
    pub(super) for_model: bool,
    /// Whether to page.
    pub(super) pages: bool,
}

/// Prints the state of a thread at a checkpoint: the one with this id, or the newest.
pub(super) async fn show(app: &App, thread: &str, checkpoint: Option<&str>, shown: Shown) -> Result<(), Failure> {
    let thread = thread_id(thread)?;
    let store = app.existing_checkpoints().await?;
    let found = threads::state(&store, &thread, checkpoint).await?;
    app.add_cost(found.cost);
    if let (None, Some(id)) = (&found.value, checkpoint) {
        return Err(Failure::other(format!(
            "the thread {thread} has no checkpoint {id}; list them with `{}`",
            app.command(&format!("threads {}", shell_word(thread.as_str())))
        )));
    }
    let (entries, left_out) = match (&shown.policy, found.value.as_ref().map(|state| state.messages.clone()).unwrap_or_default())
    {
        (Some(policy), entries) => {
            let window = policy.window(entries.into_iter().filter_map(Entry::into_message).collect());
            (window.messages.into_iter().map(Entry::from).collect(), window.left_out)
        }
        (None, entries) => (entries, Omitted::default()),
    };
    if shown.pages && found.value.is_some() {
        app.out.page();
    }
    match shown.format {
        Some(format) => as_format(app, &thread, found.value.as_ref(), entries, &left_out, format, shown.for_model)?,
        None => as_text(app, &thread, found.value.as_ref(), &entries)?,
    }
    if app.json() { Ok(()) } else { say_left_out(app, &left_out) }
}

fn as_format(
    app: &App,
    thread: &SessionId,
    state: Option<&ThreadState>,
    entries: Vec<Entry>,
    left_out: &Omitted,
    format: Format,
    for_model: bool,
) -> Result<(), Failure> {
    let all = entries.len();
    let messages: Vec<Message> = entries.into_iter().filter_map(Entry::into_message).collect();
    let others = (all - messages.len()) as u64;
    let request = written(format, &messages, for_model);
    if !app.json() {
        as_lines(app, request)?;
        if others > 0 {
            app.out.end()?;
            say(format_args!("({}, which only `show` as text prints)", other_count(others)));
        }
        return Ok(());
    }
    let messages: Vec<_> = request.messages.into_iter().map(|(_, value)| value).collect();
    let mut answer = json!({
        "thread": thread.as_str(),
        "checkpoint": state.map(|state| &state.checkpoint),
        "messages": messages,
        "other_entries": others,
        "values": state.map(|state| &state.values),
        "writes": state.map(|state| &state.writes),
        "left_out": (!left_out.is_nothing()).then(|| left_out.to_string()),
        "cost": app.cost(),
    });
    if let Some(system) = request.system {
        answer["system"] = system;
    }
    app.out.json(&answer)
}

fn as_text(app: &App, thread: &SessionId, state: Option<&ThreadState>, entries: &[Entry]) -> Result<(), Failure> {
    let style = app.style();
    let Some(ThreadState { checkpoint, values, writes, .. }) = state else {
        say_none(thread);
        return Ok(());
    };
    app.out.line(style.faint(&checkpoint_line(checkpoint, &style)))?;
    entries.iter().try_for_each(|entry| app.out.text(style.entry(entry)))?;
    values.iter().try_for_each(|(name, value)| app.out.text(style.value(name, &value.to_string())))?;
    for PendingWrite { channel, value, .. } in writes {
        app.out.text(style.value(&format!("waiting write to {channel}"), &value.to_string()))?;
    }
    Ok(())
}
