//! Page cursors. They are signed, so clients cannot forge them, and valid only for the list that they were made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_memory::SessionId;
use chat_memory::store::{History, PageCursor};
use subtle::ConstantTimeEq as _;

use crate::auth::Access;
use crate::problem::Problem;

/// Bytes of the signature in a cursor.
const SIGNATURE: usize = 16;

/// Signs a cursor of the store's for this list: a session's messages, or an owner's sessions.
pub(super) fn write(access: &Access, place: &str, cursor: &str) -> String {
    format!("{cursor}.{}", BASE64.encode(signature(access, place, cursor)))
}

/// Verifies this text and returns the store's cursor in it.
pub(super) fn read(access: &Access, place: &str, text: &str) -> Result<String, Problem> {
    let given = text.rsplit_once('.').and_then(|(cursor, signature)| Some((cursor, BASE64.decode(signature).ok()?)));
    match given {
        Some((cursor, given)) if bool::from(signature(access, place, cursor)[..].ct_eq(&given[..])) => Ok(cursor.to_owned()),
        _ => Err(Problem::bad_request(
            "invalid cursor: it belongs to another list or API key; send \"next\" of the previous page exactly as returned",
        )
        .in_console("this link to a further page is no longer valid: open the list again, and start from its first page")),
    }
}

fn signature(access: &Access, place: &str, cursor: &str) -> Vec<u8> {
    let mut signature = access.sign_cursor(place, cursor);
    signature.truncate(SIGNATURE);
    signature
}

/// Returns the cursor of the page of messages before this one, if there is one.
pub(crate) fn of_older(access: &Access, session: &SessionId, page: &History) -> Option<String> {
    page.older().map(|older| write(access, &messages_of(session), &older.to_string()))
}

/// Verifies a cursor from [`of_older`].
pub(crate) fn before(access: &Access, session: &SessionId, text: &str) -> Result<PageCursor, Problem> {
    read(access, &messages_of(session), text)?.parse().map_err(|e| access.problem(&e))
}

/// The list that a cursor of a session's messages belongs to.
fn messages_of(session: &SessionId) -> String {
    format!("messages of {session}")
}
