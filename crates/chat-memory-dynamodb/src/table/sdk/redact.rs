//! Requests credentials without tracing. At level `trace` the SDK logs the headers that it sends to an instance's metadata service,
//! a token among them, and a program that traces everything would log it.

use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, NoSubscriber};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Another provider's credentials, requested without tracing.
#[derive(Debug)]
pub(super) struct UntracedCredentials(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for UntracedCredentials {
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

/// Runs this work without tracing. Coarser levels are logged as usual.
pub(super) async fn untraced<T>(work: impl Future<Output = T>) -> T {
    let now = dispatcher::get_default(Clone::clone);
    // Without a subscriber, setting one here would stop `tracing` from passing its events to `log`.
    if now.is::<NoSubscriber>() {
        return work.await;
    }
    work.with_subscriber(Untraced(now)).await
}

/// Passes on everything except level `trace`.
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
