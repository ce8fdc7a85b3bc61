//! Asking for credentials without a trace: at level `trace` the SDK writes down the headers that it sends to an instance's metadata
//! service, a token among them, and a program that traces everything would log it.

use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Credentials from where another provider has them, found without a trace.
#[derive(Debug)]
pub(super) struct Quiet(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for Quiet {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        Provided::new(untraced(self.0.provide_credentials()))
    }

    fn fallback_on_interrupt(&self) -> Option<aws_credential_types::Credentials> {
        self.0.fallback_on_interrupt()
    }
}

/// The same work, without a trace of it. What is not so fine is logged as ever.
pub(super) async fn untraced<T>(work: impl Future<Output = T>) -> T {
    let now = dispatcher::get_default(Clone::clone);
    // Where nobody listens, whatever is set here would end that `tracing` hands its events to `log`.
    if now.is::<NoSubscriber>() {
        return work.await;
    }
    work.with_subscriber(Untraced(now)).await
}

/// Hands everything on but what is of level `trace`.
struct Untraced(Dispatch);

impl Subscriber for Untraced {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if *metadata.level() == Level::TRACE { Interest::never() } else { Interest::sometimes() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() != Level::TRACE && self.0.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.0.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.0.try_close(span)
    }
}
