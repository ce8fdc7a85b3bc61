//! What both layouts do when they redact.

use super::retry::Retry;
use crate::table::{Clock, Key, Table, Update, Updated};
use chat_memory_core::SessionId;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::{Cost, Redacted};

/// What became of the update of a redaction.
pub(crate) enum Sent {
    Landed,
    /// The item is not as it was read. If in doubt, an earlier try may have landed nevertheless, and others have written since.
    Refused {
        in_doubt: bool,
    },
}

/// Sends the update of a redaction. It sets the attribute `mark` to a new value, by which a repeat recognises it.
///
/// The items that were `written` for it are deleted, as far as possible, where nothing can lead to them.
pub(crate) async fn send<T: Table, C: Clock>(
    table: &T,
    (update, mark): (&Update, &str),
    written: &[Key],
    cost: &mut Cost,
    retry: &mut Retry<'_, C>,
) -> Result<Sent, Error> {
    let own = update.set.iter().find(|(name, _)| name == mark).and_then(|(_, value)| value.as_ref());
    let mut in_doubt = false;
    let outcome = loop {
        let fault = match table.update(update, cost).await {
            Ok(Updated::Done(_)) => return Ok(Sent::Landed),
            // An earlier try of this one landed.
            Ok(Updated::Refused(Some(item))) if item.attributes.get(mark) == own => return Ok(Sent::Landed),
            Ok(Updated::Refused(_)) => break Ok(()),
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
    }
    let refused = Sent::Refused { in_doubt };
    outcome.map(|()| refused).map_err(|error| {
        if !in_doubt {
            return error;
        }
        let why = format!("outcome unknown ({error}): the record may have been redacted; it is safe to retry");
        Error::new(ErrorKind::InDoubt, why).with_source(error)
    })
}

/// What a redaction did: if nothing is left to change, that was an earlier try whose answer was lost.
pub(crate) fn done(found: Redacted, in_doubt: Option<Redacted>) -> Redacted {
    if found.changed { found } else { in_doubt.unwrap_or(found) }
}

/// The error of a redaction that always came too late.
pub(crate) fn contended(session: &SessionId, seq: u64) -> Error {
    let session = session.as_str();
    let why =
        format!("cannot redact record {seq} of session {session:?}: the session was modified again and again meanwhile; retry");
    Error::new(ErrorKind::Contended, why)
}
