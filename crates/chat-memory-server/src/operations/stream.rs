//! All records of a session, one after the other, in constant memory.

use std::time::Duration;

use axum::body::Bytes;
use chat_memory::store::Record;
use chat_memory::{ChatStoreExt as _, Error, SessionId};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::auth::Access;
use crate::problem::Problem;

/// How many records may be queued for a reader.
const WAITING: usize = 16;

/// How long a reader may take nothing before its stream ends.
const STALLED: Duration = Duration::from_secs(30);

/// Streams a session's records, oldest or newest first, each formatted by `write`. The first one is read before this returns, so that an
/// error of the store has its status. A later error is the stream's last item: the response then breaks off, and does not look whole.
pub(crate) async fn records(
    access: &Access,
    session: &SessionId,
    newest_first: bool,
    write: impl Fn(&Record) -> Vec<u8> + Send + Sync + 'static,
) -> Result<impl Stream<Item = Result<Bytes, Error>> + Send + 'static, Problem> {
    let open = access.service.streams().open(access.key.as_ref().map(|key| key.id.as_str()))?;
    let (to, mut written) = mpsc::channel(WAITING);
    let (store, session) = (access.store.clone(), session.clone());
    // Returns whether the stream is whole.
    let send = async move {
        let mut records = if newest_first { store.records_backwards(&session) } else { store.records_forwards(&session) };
        while let Some(record) = records.next().await {
            let bytes = record.map(|record| Bytes::from(write(&record)));
            if !matches!(tokio::time::timeout(STALLED, to.send(bytes)).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    };
    let sending = AbortOnDropHandle::new(tokio::spawn(send.in_current_span()));
    let first = written.recv().await.transpose().map_err(|e| access.problem(&e))?;
    let rest = stream::unfold(Some((written, sending)), |state| async move {
        let (mut written, sending) = state?;
        match written.recv().await {
            Some(bytes) => Some((bytes, Some((written, sending)))),
            None if sending.await.unwrap_or(false) => None,
            None => Some((Err(Error::invalid("the client read nothing for 30 seconds; request it again")), None)),
        }
    });
    Ok(stream::iter(first.map(Ok)).chain(rest).map(move |bytes| {
        let _open = &open;
        bytes
    }))
}
