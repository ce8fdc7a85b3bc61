//! Bodies that the service does not read to their end, since it refuses the request before. Most clients read the answer only once they
//! have sent the whole body: if the connection were closed before, they would see a broken connection, and not why.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::http::{Request, header};
use futures_util::{Stream, StreamExt as _};

/// How much of a body is read in vain, and how long.
const MOST_BYTES: usize = 64 * 1024 * 1024;
const LONGEST: Duration = Duration::from_secs(10);

/// The same request; what nobody reads of its body is read and dropped. Not if the client waits until it may send the body: then it gets
/// the answer instead.
pub(crate) fn read_in_vain(request: Request<Body>) -> Request<Body> {
    if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::from_stream(Unread(Some(body.into_data_stream()))))
}

/// A body; `None` once it has ended.
struct Unread(Option<BodyDataStream>);

impl Stream for Unread {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = body.poll_next_unpin(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.0 = None;
        }
        polled
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let (Some(mut body), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(tokio::time::timeout(LONGEST, async move {
            let mut read = 0;
            while let Some(Ok(bytes)) = body.next().await
                && read < MOST_BYTES
            {
                read += bytes.len();
            }
        }));
    }
}
