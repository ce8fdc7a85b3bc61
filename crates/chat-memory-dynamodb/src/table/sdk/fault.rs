//! What a failed request means: the kind of error, whether it may have landed, whether to retry it, and a sentence with the remedy.

use std::fmt;
use std::sync::Arc;

use super::failure::{Cause, Failure};
use super::schema::Schema;
use super::wire::Wire;
use crate::table::Fault;
use chat_memory_core::error::{Error, ErrorKind};

/// The table, for requests and for error messages.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) table: String,
    pub(crate) region: String,
    pub(crate) partition_key: String,
    pub(crate) sort_key: String,
    /// The profile that the credentials should come from, if one was named.
    pub(super) profile: Option<String>,
    /// Knows where requests really go.
    pub(super) wire: Arc<Wire>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table {:?} in {}", self.table, self.region)?;
        self.wire.endpoint().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
    }
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The table does not exist.
    Missing,
    /// The request's keys do not match the table's.
    KeySchema,
    /// Throttled by the table's or the account's limits.
    Throttled,
    /// Another transaction is using the item.
    Busy,
    /// IAM does not allow it.
    Denied,
    /// The credentials are missing, unknown or wrong.
    Credentials,
    /// The credentials have expired.
    Expired,
    /// The request was signed at a time that differs too much from AWS's.
    Clock,
    TooLarge,
    /// The service does not know the operation.
    Unknown,
    /// The service failed, or could not be reached.
    Unavailable,
    /// Forbidden by our own options.
    ReadOnly,
    /// The request is invalid in some other way.
    Refused,
}

impl Failure {
    pub(crate) fn trouble(&self) -> Trouble {
        match &self.cause {
            Cause::Answer { status, code, message, .. } => by_code(code, message).unwrap_or_else(|| by_status(*status)),
            Cause::Unreadable { status, .. } => match by_status(*status) {
                // Whatever answered was not DynamoDB, so it cannot tell what is wrong with the request.
                Trouble::Refused | Trouble::Denied => Trouble::Unavailable,
                trouble => trouble,
            },
            Cause::Credentials { slow: false, .. } => Trouble::Credentials,
            Cause::Credentials { slow: true, .. } | Cause::TooLate(_) | Cause::NoConnection { .. } | Cause::Lost(_) => {
                Trouble::Unavailable
            }
            Cause::NotSent(_) => Trouble::Refused,
            Cause::ReadOnly => Trouble::ReadOnly,
        }
    }

    /// Whether the request may have been carried out nevertheless.
    pub(crate) fn may_have_landed(&self) -> bool {
        let unknown = match &self.cause {
            Cause::Answer { status, .. } => *status >= 500,
            // A refusal is a refusal even if its body is garbled.
            Cause::Unreadable { status, .. } => !(400..500).contains(status),
            Cause::TooLate(_) | Cause::Lost(_) => true,
            Cause::NoConnection { .. } | Cause::Credentials { .. } | Cause::NotSent(_) | Cause::ReadOnly => false,
        };
        unknown && self.sent && self.operation.writes()
    }

    /// Whether the same request may succeed later.
    fn retry(&self) -> bool {
        match self.trouble() {
            Trouble::Throttled | Trouble::Busy => true,
            Trouble::Unavailable => !matches!(self.cause, Cause::Unreadable { status: 400..500, .. }),
            _ => false,
        }
    }

    /// Converts the failure to a fault for the protocol. `schema` is the table's, if the keys are the problem and it is known.
    pub(crate) fn into_fault(self, target: &Target, schema: Option<&Schema>) -> Fault {
        let (may_have_landed, retry) = (self.may_have_landed(), self.retry());
        Fault { error: self.into_error(target, schema), may_have_landed, retry }
    }

    pub(crate) fn into_error(self, target: &Target, schema: Option<&Schema>) -> Error {
        let (kind, sentence) = self.sentence(target, schema);
        Error::new(kind, sentence).with_source(self)
    }

    fn sentence(&self, target: &Target, schema: Option<&Schema>) -> (ErrorKind, String) {
        let operation = self.operation;
        match self.trouble() {
            Trouble::Missing => (
                ErrorKind::NotFound,
                format!(
                    "{target} does not exist; create it with `chat-memory table create`, or check \
                     its name, the region and the endpoint"
                ),
            ),
            Trouble::KeySchema => (ErrorKind::Invalid, key_schema_sentence(target, schema)),
            Trouble::Throttled => (
                ErrorKind::Throttled,
                format!("{operation} throttled on {target}; slow down, or raise the limits of the table or the account"),
            ),
            Trouble::Busy => {
                (ErrorKind::Unavailable, format!("another transaction is writing the same item of {target}; try again"))
            }
            Trouble::Denied => (ErrorKind::AccessDenied, self.denied_sentence(target)),
            Trouble::Credentials => (ErrorKind::AccessDenied, self.credentials_sentence(target)),
            Trouble::Expired => (
                ErrorKind::AccessDenied,
                format!("the AWS credentials for {target} have expired; get new ones (`aws sso login`, or a new session token)"),
            ),
            Trouble::Clock => (ErrorKind::AccessDenied, clock_sentence(target)),
            Trouble::TooLarge => {
                (ErrorKind::TooLarge, format!("item too large for {target}: DynamoDB's limit is 400 KB; append less at once"))
            }
            Trouble::Unknown => (ErrorKind::Unsupported, format!("the service of {target} does not support {operation}")),
            Trouble::Unavailable => (ErrorKind::Unavailable, self.unavailable_sentence(target)),
            Trouble::ReadOnly => (
                ErrorKind::ReadOnly,
                format!("{operation} refused: {target} is open read-only; open it without `read_only` to write"),
            ),
            Trouble::Refused => (ErrorKind::Invalid, format!("{operation} refused on {target}: {}", self.words())),
        }
    }

    /// The message of the other side, or of the HTTP client.
    fn words(&self) -> String {
        match &self.cause {
            Cause::Answer { code, message, .. } if message.is_empty() => code.clone(),
            Cause::Answer { code, message, .. } => format!("{code}: {}", message.trim_end_matches('.')),
            Cause::Unreadable { why, .. }
            | Cause::NoConnection { why, .. }
            | Cause::Lost(why)
            | Cause::NotSent(why)
            | Cause::Credentials { why, .. } => why.clone(),
            Cause::TooLate(_) | Cause::ReadOnly => String::new(),
        }
    }

    /// AWS usually names the action and the reason. If it does not (as with a key that encrypts the table), its own message is
    /// shown.
    fn denied_sentence(&self, target: &Target) -> String {
        let said = match &self.cause {
            Cause::Answer { message, .. } => message.as_str(),
            _ => "",
        };
        let named = said.split("perform: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let needed = || self.operation.actions().iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let why = if named.is_some() { said.split("because ").nth(1) } else { Some(said) };
        let why = why.map(|why| why.trim_end_matches('.')).filter(|why| !why.is_empty());
        format!(
            "the credentials lack the permission {} on {target}{}; `chat-memory iam-policy` prints the policy that is needed",
            named.map_or_else(needed, str::to_owned),
            why.map_or_else(String::new, |why| format!(" ({why})"))
        )
    }

    fn credentials_sentence(&self, target: &Target) -> String {
        match (&self.cause, self.code()) {
            (Cause::Credentials { why, .. }, _) if target.profile.is_some() => {
                let name = target.profile.as_deref().unwrap_or_default();
                format!(
                    "the profile {name:?} gives no AWS credentials for {target} ({why}); check that AWS's \
                     configuration files have it, or log in to it (`aws sso login --profile …`)"
                )
            }
            (Cause::Credentials { why, .. }, _) => format!(
                "there are no AWS credentials for {target} ({why}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a \
                 profile (`aws configure` makes one), or run where a role gives them"
            ),
            (
                _,
                Some(
                    "InvalidSignatureException"
                    | "SignatureDoesNotMatch"
                    | "IncompleteSignatureException"
                    | "IncompleteSignature",
                ),
            ) => {
                format!(
                    "invalid signature for {target}: the secret access key does not belong to the access key's id; give both \
                     again, complete and without spaces"
                )
            }
            _ => format!(
                "unknown access key for {target}: check that it exists, is active, and belongs to this \
                 region's partition, and that temporary credentials come with their session token"
            ),
        }
    }

    fn unavailable_sentence(&self, target: &Target) -> String {
        let operation = self.operation;
        match &self.cause {
            Cause::TooLate(limit) if !self.sent => {
                format!("no AWS credentials for {target} within {} ms; check the provider of the credentials", limit.as_millis())
            }
            Cause::TooLate(limit) => {
                format!(
                    "{target} did not answer {operation} within {} ms; check the network, or allow more time",
                    limit.as_millis()
                )
            }
            Cause::NoConnection { why, .. } => {
                format!("no connection to {target} ({why}); check the network, the region's name and the endpoint")
            }
            Cause::Lost(why) => format!("the connection to {target} broke during {operation} ({why})"),
            Cause::Unreadable { status, why } => format!(
                "the answer to {operation} from {target} (HTTP {status}) cannot be read ({why}); check that nothing but DynamoDB \
                 answers there, such as a proxy"
            ),
            Cause::Credentials { why, .. } => format!("no AWS credentials for {target} in time ({why})"),
            Cause::Answer { .. } | Cause::NotSent(_) | Cause::ReadOnly => {
                format!("{operation} failed on {target} ({}); retry", self.words())
            }
        }
    }
}

/// Classifies DynamoDB's error codes, and the codes in a cancelled transaction's reasons ("Error handling with DynamoDB" and
/// "TransactWriteItems" in AWS's documentation; the codes about signatures are common to all AWS services).
fn by_code(code: &str, message: &str) -> Option<Trouble> {
    Some(match code {
        "ResourceNotFoundException" | "TableNotFoundException" => Trouble::Missing,
        "ProvisionedThroughputExceededException"
        | "ProvisionedThroughputExceeded"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "ThrottlingError"
        | "Throttling"
        | "TooManyRequestsException"
        | "LimitExceededException" => Trouble::Throttled,
        "TransactionConflictException"
        | "TransactionConflict"
        | "TransactionInProgressException"
        | "ReplicatedWriteConflictException" => Trouble::Busy,
        "AccessDeniedException" | "AccessDenied" => Trouble::Denied,
        "ExpiredTokenException" | "ExpiredToken" => Trouble::Expired,
        "RequestTimeTooSkewed" | "RequestExpired" => Trouble::Clock,
        "InvalidSignatureException" if message.contains("Signature expired") || message.contains("not yet current") => {
            Trouble::Clock
        }
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch" => Trouble::Credentials,
        "ValidationException" | "ValidationError" => by_validation(message),
        "UnknownOperationException" => Trouble::Unknown,
        _ => return None,
    })
}

fn by_validation(message: &str) -> Trouble {
    let message = message.to_ascii_lowercase();
    let about = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
    if about(&["item size has exceeded", "item size to update has exceeded"]) {
        Trouble::TooLarge
    } else if about(&[
        "key element does not match the schema",
        "missing the key",
        // DynamoDB Local's wording.
        "one of the required keys was not given a value",
        "missed key schema element",
        "type mismatch for key",
        "number of conditions on the keys is invalid",
        "query key condition not supported",
        "condition parameter type does not match schema type",
        "starting key is invalid",
    ]) {
        Trouble::KeySchema
    } else {
        Trouble::Refused
    }
}

fn by_status(status: u16) -> Trouble {
    match status {
        401 | 403 => Trouble::Denied,
        413 => Trouble::TooLarge,
        429 => Trouble::Throttled,
        400..500 if status != 408 => Trouble::Refused,
        // An unreadable success, a timeout, or a failure of the service.
        _ => Trouble::Unavailable,
    }
}

fn key_schema_sentence(target: &Target, schema: Option<&Schema>) -> String {
    let misfit = schema.and_then(|schema| schema.misfit(&target.partition_key, &target.sort_key));
    match misfit {
        Some(misfit) => format!("{target} {}; {}", misfit.what, misfit.remedy),
        None => format!(
            "{target} does not have the partition key {:?} and the sort key {:?}, both strings; give the names of its keys \
             (partition_key=… and sort_key=… in the store URL)",
            target.partition_key, target.sort_key
        ),
    }
}

fn clock_sentence(target: &Target) -> String {
    let skew = target.wire.skew_ms().map_or_else(String::new, |ms| {
        let (minutes, direction) = (ms.abs() / 60_000, if ms > 0 { "behind" } else { "ahead of" });
        format!(", {minutes} min {direction} AWS's")
    });
    format!("AWS refuses the signing time of requests for {target}: this machine's clock is wrong{skew}; set it")
}
