//! What both layouts do when they redact.

use super::retry::Retry;
use crate::table::{Clock, Key, Table, Update, Updated};
use chat_memory_core::SessionId;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

/// Sends the update of a redaction. It sets the attribute `mark` to a new value, by which a repeat recognises it. Returns whether it
/// landed; false means that the item is not as it was read.
///
/// The items that were `written` for it are deleted, as far as possible, where nothing can lead to them.
pub(crate) async fn send<T: Table, C: Clock>(
    table: &T,
    (update, mark): (&Update, &str),
    written: &[Key],
    cost: &mut Cost,
    retry: &mut Retry<'_, C>,
) -> Result<bool, Error> {
    let own = update.set.iter().find(|(name, _)| name == mark).and_then(|(_, value)| value.as_ref());
    let mut in_doubt = false;
    let outcome = loop {
        let fault = match table.update(update, cost).await {
            Ok(Updated::Done(_)) => return Ok(true),
            // An earlier try of this one landed.
            Ok(Updated::Refused(Some(item))) if item.attributes.get(mark) == own => return Ok(true),
            Ok(Updated::Refused(_)) => break Ok(false),
            Err(fault) => fault,
        };
        in_doubt |= fault.may_have_landed;
        if let Err(error) = retry.after(fault).await {
            break Err(error);
        }
    };
    if !in_doubt {
        for key in written {
            let _ = table.delete(key, &[], cost).await;
        }
        return outcome;
    }
    // If it was refused, an earlier try may have landed nevertheless, and others have written since.
    outcome.map_err(|error| {
        let why = format!("outcome unknown ({error}): the record may have been redacted; it is safe to retry");
        Error::new(ErrorKind::InDoubt, why).with_source(error)
    })
}

/// The error of a redaction that always came too late.
pub(crate) fn contended(session: &SessionId, seq: u64) -> Error {
    let session = session.as_str();
    let why =
        format!("cannot redact record {seq} of session {session:?}: the session was modified again and again meanwhile; retry");
    Error::new(ErrorKind::Contended, why)
}
