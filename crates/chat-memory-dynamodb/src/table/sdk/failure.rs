//! Why a request failed, without the SDK's types: those hold whole responses, and so the text of messages, which must not get into
//! any log.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::iam::Operation;
use chat_memory_core::error::Error;

/// The maximum length of AWS's own words that are passed on, in characters.
const MAX_WORDS: usize = 300;

/// A request's failure: the source of an [`Error`](chat_memory_core::Error).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) operation: Operation,
    /// Whether sending had begun.
    pub(crate) sent: bool,
    pub(crate) cause: Cause,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cause {
    /// The service refused or failed, and said so.
    Answer { status: u16, code: String, message: String, request_id: Option<String> },
    /// There was a response that cannot be read.
    Unreadable { status: u16, why: String },
    /// No response within this time.
    TooLate(Duration),
    /// No connection was made. An operation that never had one retries it only until this age.
    NoConnection { why: String, repeat_until: Duration },
    /// The connection broke.
    Lost(String),
    /// There are no credentials to sign with. `slow` if they may still arrive.
    Credentials { slow: bool, why: String },
    /// The SDK did not send the request, for another reason.
    NotSent(String),
    /// It would have written, but the table was opened read-only.
    ReadOnly,
}

impl Failure {
    /// The failure that caused an error, if a request did.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        StdError::source(error)?.downcast_ref()
    }

    pub(crate) fn new<E>(operation: Operation, sent: bool, error: &SdkError<E, HttpResponse>, repeat_until: Duration) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let cause = match error {
            SdkError::ServiceError(answer) => {
                let (status, message) = (answer.raw().status().as_u16(), tamed(answer.err().message().unwrap_or_default()));
                let request_id = error.request_id().map(str::to_owned);
                match answer.err().code() {
                    Some(code) => Cause::Answer { status, code: code.to_owned(), message, request_id },
                    None => Cause::Unreadable { status, why: "it names no error of DynamoDB's".to_owned() },
                }
            }
            SdkError::ResponseError(answer) => {
                Cause::Unreadable { status: answer.raw().status().as_u16(), why: chain(error.source()) }
            }
            SdkError::TimeoutError(_) => Cause::Lost(chain(error.source())),
            SdkError::DispatchFailure(failure) => dispatch(failure, sent, repeat_until),
            _ => credentials(error.source()).unwrap_or_else(|| Cause::NotSent(chain(error.source()))),
        };
        Self { operation, sent, cause }
    }

    /// The same failure, with the reason that a cancelled transaction gives.
    pub(crate) fn because(mut self, reason: &str, words: &str) -> Self {
        if let Cause::Answer { code, message, .. } = &mut self.cause {
            *code = reason.to_owned();
            *message = tamed(words);
        }
        self
    }

    /// The age until which an operation retries this, if no connection was made.
    pub(crate) fn unconnected_until(&self) -> Option<Duration> {
        match self.cause {
            Cause::NoConnection { repeat_until, .. } => Some(repeat_until),
            _ => None,
        }
    }

    /// The service's own error code.
    pub(crate) fn code(&self) -> Option<&str> {
        match &self.cause {
            Cause::Answer { code, .. } => Some(code),
            _ => None,
        }
    }
}

fn dispatch(failure: &aws_smithy_runtime_api::client::result::DispatchFailure, sent: bool, repeat_until: Duration) -> Cause {
    let Some(error) = failure.as_connector_error() else { return Cause::Lost(String::new()) };
    if let Some(cause) = credentials(Some(error)) {
        return cause;
    }
    let why = chain(error.source());
    if !sent {
        // The SDK has no public type for this. A test fails if its wording changes.
        return if why.contains("no identity resolver") {
            Cause::Credentials { slow: false, why: "the AWS client was made without any".to_owned() }
        } else {
            Cause::NotSent(why)
        };
    }
    // The HTTP client has no other timeout than the connection's.
    let unconnected = error.is_timeout()
        || find::<hyper_util::client::legacy::Error>(Some(error)).is_some_and(hyper_util::client::legacy::Error::is_connect);
    if unconnected { Cause::NoConnection { why, repeat_until } } else { Cause::Lost(why) }
}

fn credentials(error: Option<&(dyn StdError + 'static)>) -> Option<Cause> {
    let error = find::<CredentialsError>(error)?;
    Some(Cause::Credentials { slow: matches!(error, CredentialsError::ProviderTimedOut(_)), why: chain(Some(error)) })
}

/// The error of this type in the chain of causes.
fn find<'a, T: StdError + 'static>(mut error: Option<&'a (dyn StdError + 'static)>) -> Option<&'a T> {
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        error = this.source();
    }
    None
}

/// The messages of an error and its causes. `Display` only: `Debug` would reveal the content of responses.
fn chain(mut error: Option<&(dyn StdError + 'static)>) -> String {
    let mut words = Vec::<String>::new();
    while let Some(this) = error {
        let said = this.to_string();
        if !words.contains(&said) {
            words.push(said);
        }
        error = this.source();
    }
    abridged(&words.join(": "))
}

/// AWS's message without what it may quote: AWS repeats a wrongly signed request in full, session token included, and also values
/// that violate a constraint.
fn tamed(message: &str) -> String {
    let unsigned = message.split("The Canonical String").next().unwrap_or_default();
    let unquoted = match (unsigned.find("Value '"), unsigned.rfind("' at '")) {
        (Some(from), Some(to)) if from < to => format!("{}Value '…{}", &unsigned[..from], &unsigned[to..]),
        (Some(from), _) => unsigned[..from].to_owned(),
        (None, _) => unsigned.to_owned(),
    };
    abridged(unquoted.trim())
}

fn abridged(words: &str) -> String {
    match words.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words.to_owned(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = self.operation;
        match &self.cause {
            Cause::Answer { status, code, message, request_id } => {
                write!(f, "{operation} was answered with HTTP {status}")?;
                for said in [code, message] {
                    if !said.is_empty() {
                        write!(f, ", {said}")?;
                    }
                }
                request_id.as_ref().map_or(Ok(()), |id| write!(f, " (request {id})"))
            }
            Cause::Unreadable { status, why } => {
                write!(f, "{operation} was answered with HTTP {status}, but the answer cannot be read: {why}")
            }
            Cause::TooLate(limit) => {
                let what = if self.sent { "answered" } else { "signed and sent" };
                write!(f, "{operation} was not {what} within {} ms", limit.as_millis())
            }
            Cause::NoConnection { why, .. } => write!(f, "no connection for {operation}: {why}"),
            Cause::Lost(why) => write!(f, "the connection broke during {operation}: {why}"),
            Cause::Credentials { why, .. } => write!(f, "no credentials for {operation}: {why}"),
            Cause::NotSent(why) => write!(f, "{operation} was not sent: {why}"),
            Cause::ReadOnly => write!(f, "{operation} was not sent, since it writes"),
        }
    }
}

impl StdError for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_repeated_by_aws_are_cut_off() {
        let message = "The request signature we calculated does not match the signature you provided.\n\n\
                       The Canonical String for this request should have been\n'POST\nx-amz-security-token:hunter2'";
        let said = tamed(message);
        assert!(said.contains("does not match") && !said.contains("hunter2"), "{said}");
        let message =
            "1 validation error detected: Value 'my diary' at 'key' failed to satisfy constraint: Member must not be null";
        assert_eq!(
            tamed(message),
            "1 validation error detected: Value '…' at 'key' failed to satisfy constraint: Member must not be null"
        );
        assert!(!tamed("Value 'my diary of 4,000 pages").contains("diary"));
        assert_eq!(tamed(&"é".repeat(1000)).chars().count(), MAX_WORDS + 1);
    }
}
