//! `table check`: checks whether a table, the credentials and this machine's clock are fit for sessions. Each finding names its
//! remedy. Nothing is changed: writes are probed with a condition that can never hold.

use std::fmt;

use super::super::common::names::{self, Partitions};
use super::super::iam::{Action, Operation, Use};
use super::super::layouts::list::Contents;
use super::super::layouts::turns;
use super::super::table::sdk::{Failure, Schema, SdkTable, TTL_TAKEN, Trouble};
use super::super::table::{Attributes, Key};
use super::{Admin, Description, passes};
use crate::options::Layout;
use chat_memory_core::store::Cost;

/// Clock skew above which a check warns, and above which it reports an error. AWS refuses requests signed five minutes off (some of
/// its services 15), and expiry is decided by this machine's clock.
const SKEW_WARNING_MS: u64 = 60_000;
const SKEW_ERROR_MS: u64 = 5 * 60_000;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// All is well.
    Fine,
    /// An improvement is possible.
    Hint,
    /// Something will not work as promised at some time or for some use.
    Warning,
    /// Sessions cannot be stored with this setup.
    Error,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Whether the table answers.
    Table,
    /// The names and types of its keys.
    Keys,
    /// What is stored in it.
    Items,
    /// The table's TTL setting.
    TimeToLive,
    /// Replicas in other regions.
    Replicas,
    /// What the credentials allow.
    Permissions,
    /// Clock skew between this machine and AWS.
    Clock,
    /// Point-in-time recovery.
    Backups,
    /// The table's deletion protection.
    DeletionProtection,
}

/// One finding about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What was found: a sentence without a full stop.
    pub what: String,
    /// What to do about it; `None` if nothing needs doing.
    pub remedy: Option<String>,
}

impl Severity {
    /// Its name: `ok`, `hint`, `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Subject {
    /// Its name, such as `time-to-live`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Keys => "keys",
            Self::Items => "items",
            Self::TimeToLive => "time-to-live",
            Self::Replicas => "replicas",
            Self::Permissions => "permissions",
            Self::Clock => "clock",
            Self::Backups => "backups",
            Self::DeletionProtection => "deletion-protection",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity.as_str(), self.what)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// How sessions are stored in a table that suits them.
pub(super) enum Place {
    /// One item per record.
    Turns,
    /// One item per session.
    List(SdkTable),
}

impl Finding {
    fn fine(subject: Subject, what: impl Into<String>) -> Self {
        Self { severity: Severity::Fine, subject, what: what.into(), remedy: None }
    }

    fn new(severity: Severity, subject: Subject, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity, subject, what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl Admin {
    /// Checks everything that sessions depend on. Costs a few requests and up to ten write units, and changes nothing.
    ///
    /// If the table does not answer at all, that is the only finding. Whatever the credentials may not read is reported as a hint.
    pub async fn check(&self) -> Vec<Finding> {
        let cost = &mut Cost::default();
        let mut findings = Vec::new();
        let described = self.table.describe(cost).await;
        let schema = described.as_ref().ok().map(|table| &table.schema);
        let looked = match &described {
            Ok(_) => Some(self.table.sample(cost).await),
            Err(_) => None,
        };
        let sort_key = schema.and_then(|schema| schema.sort.as_ref()).map(|key| key.name.as_str());
        let contents = looked.as_ref().and_then(|items| items.as_ref().ok()).map(|items| Contents::of(items, sort_key));
        let (place, keys) = self.place(schema, contents.as_ref());
        match &described {
            Ok(table) => findings.extend(self.table_findings(table, keys)),
            Err(failure) if failure.trouble() == Trouble::Denied => {
                findings.push(self.unseen(failure, Subject::Keys, "its keys, replicas and protection"));
            }
            Err(failure) => {
                findings.push(self.stopped(failure));
                // Even a refusal carries a date, and the clock may be what caused it.
                findings.extend(self.clock_finding().filter(|finding| finding.severity > Severity::Fine));
                return findings;
            }
        }
        match (&contents, &looked) {
            (Some(contents), Some(Ok(items))) => {
                findings.extend(self.items_finding(contents, place.as_ref()));
                if let Some(Place::Turns) = place {
                    findings.extend(self.entries_finding(items));
                }
            }
            (_, Some(Err(failure))) => findings.push(self.unseen(failure, Subject::Items, "its items")),
            _ => {}
        }
        findings.push(match self.table.time_to_live(cost).await {
            Ok(attribute) => self.ttl_finding(attribute.as_deref(), place.as_ref()),
            Err(failure) => self.unseen(&failure, Subject::TimeToLive, "its TTL"),
        });
        if let Some(place) = &place {
            findings.extend(self.permission_findings(place, cost).await);
        }
        findings.extend(self.clock_finding());
        findings.extend(self.backup_finding(cost).await);
        findings
    }

    fn table_findings(&self, table: &Description, keys: Finding) -> Vec<Finding> {
        let target = self.table.target();
        let mut findings = vec![Finding::fine(Subject::Table, format!("{target} answers"))];
        if !table.usable {
            let what = format!("{target} is being created or deleted and does not accept requests yet");
            findings[0] = Finding::new(Severity::Error, Subject::Table, what, "check again in a minute");
        }
        findings.push(keys);
        findings.push(if table.replicas.is_empty() {
            Finding::fine(Subject::Replicas, "the table is in one region only")
        } else {
            Finding::new(
                Severity::Warning,
                Subject::Replicas,
                format!(
                    "the table has replicas ({}), and concurrent writers are safe only within one region",
                    table.replicas.join(", ")
                ),
                "write each session from one region",
            )
        });
        findings.push(if table.deletion_protection {
            Finding::fine(Subject::DeletionProtection, "deletion protection is on")
        } else {
            Finding::new(
                Severity::Hint,
                Subject::DeletionProtection,
                "deletion protection is off: one mistaken call can delete the table",
                format!("aws dynamodb update-table --table-name {} --deletion-protection-enabled", target.table),
            )
        });
        findings
    }

    /// How sessions are stored in a table with this schema (`None` if its keys may not be read), and the finding about the keys.
    /// `contents` is what a sample of its items holds, if known.
    pub(super) fn place(&self, schema: Option<&Schema>, contents: Option<&Contents>) -> (Option<Place>, Finding) {
        let layout = self.options.said_layout();
        let is_of_lists = contents.is_some_and(|contents| contents.lists && !contents.turns);
        let is_list =
            layout == Some(Layout::List) || layout.is_none() && schema.is_some_and(|schema| schema.sort.is_none() || is_of_lists);
        if is_list {
            return match self.table.with_list_keys(&self.options, schema.cloned()) {
                Ok(list) => {
                    let sort = list.keys.sort.as_deref().zip(self.options.sort_value.as_deref());
                    let sort = sort.map(|(key, value)| format!(", with {key:?} = {value:?}")).unwrap_or_default();
                    let what = match (&list.keys.sort, &self.options.sort_value) {
                        (Some(sort), None) => format!(
                            "the keys {:?} and {sort:?} fit the list layout (one item per session, as LangChain stores it): each \
                             pair of keys is a session, PARTITION/SORT",
                            list.keys.partition
                        ),
                        _ => format!(
                            "the key {:?} fits the list layout (one item per session, as Flowise and LangChain store it){sort}",
                            list.keys.partition
                        ),
                    };
                    (Some(Place::List(list)), Finding::fine(Subject::Keys, what))
                }
                // The message already names its remedy.
                Err(error) => {
                    let (severity, subject) = (Severity::Error, Subject::Keys);
                    (None, Finding { severity, subject, what: error.to_string(), remedy: None })
                }
            };
        }
        let (partition_key, sort_key) = (self.options.partition_key_name(), self.options.sort_key_name());
        match schema.and_then(|schema| schema.misfit(partition_key, sort_key)) {
            Some(misfit) => {
                (None, Finding::new(Severity::Error, Subject::Keys, format!("the table {}", misfit.what), misfit.remedy))
            }
            None => {
                let what = format!("the keys {partition_key:?} and {sort_key:?} fit");
                (Some(Place::Turns), Finding::fine(Subject::Keys, what))
            }
        }
    }

    /// The finding about stored data that these settings do not read.
    fn items_finding(&self, contents: &Contents, place: Option<&Place>) -> Option<Finding> {
        let place = place?;
        if let Place::Turns = place {
            return contents.lists.then(|| {
                let what = "the table also holds sessions in the format of LangChain or Flowise, which are not read";
                Finding::new(Severity::Warning, Subject::Items, what, "give layout=list in the store URL to read them")
            });
        }
        let lists = self.options.lists(self.options.dialect);
        let read = [&lists.js, &lists.python];
        let unread: Vec<_> = contents.attributes.iter().filter(|(name, _)| !read.contains(name)).collect();
        let (name, _) = unread.first()?;
        let choices: Vec<_> = unread.iter().map(|(name, form)| (name.as_str(), **form)).collect();
        let what = format!("there are messages under the attribute {name:?}, which these settings do not read");
        Some(Finding::new(Severity::Error, Subject::Items, what, lists.remedy(&choices)))
    }

    /// The finding about directory entries in the sample: an entry cannot be read, or some are in the previous version's form.
    fn entries_finding(&self, items: &[Attributes]) -> Option<Finding> {
        let partitions = Partitions::new(self.options.namespace.as_ref());
        let items = items.iter().filter_map(|item| self.table.item(item.clone()).ok());
        let entries: Vec<_> = items.filter_map(|item| turns::is_entry_of_today(&partitions, &item)).collect();
        if let Some(Err(error)) = entries.iter().find(|entry| entry.is_err()) {
            let remedy = "it is skipped in lists; remove it from the table, unless a newer version writes there, and run \
                          `chat-memory table sweep` to find more";
            return Some(Finding::new(Severity::Warning, Subject::Items, error.to_string(), remedy));
        }
        entries.iter().any(|entry| matches!(entry, Ok(false))).then(|| {
            let what = "the directory has entries of an older version, each of which costs a list an extra query";
            Finding::new(Severity::Hint, Subject::Items, what, "chat-memory table sweep")
        })
    }

    pub(super) fn ttl_finding(&self, attribute: Option<&str>, place: Option<&Place>) -> Finding {
        let retention = self.options.retention.is_some();
        let is_list = matches!(place, Some(Place::List(_)));
        match attribute {
            Some(name) if is_list => match &self.options.ttl_attribute {
                Some(said) if said != name => Finding::new(
                    Severity::Warning,
                    Subject::TimeToLive,
                    format!("the table's TTL attribute is {name:?}, but the settings name {said:?}"),
                    format!("give ttl_attribute={name} in the store URL, or leave it out"),
                ),
                _ => Finding::fine(Subject::TimeToLive, format!("TTL is on, with the attribute {name:?}")),
            },
            Some(name) if self.table.is_taken(name, &names::ATTRIBUTES) => Finding::new(
                // Without a retention, records have no expiry, and DynamoDB purges nothing by whatever else the attribute holds.
                if retention { Severity::Error } else { Severity::Warning },
                Subject::TimeToLive,
                format!("the TTL attribute is {name:?}"),
                TTL_TAKEN.replacen("which has", "it has", 1),
            ),
            Some(name) => Finding::fine(Subject::TimeToLive, format!("TTL is on, with the attribute {name:?}")),
            None => Finding::new(
                if retention { Severity::Warning } else { Severity::Hint },
                Subject::TimeToLive,
                if retention {
                    "TTL is off: records past their retention are hidden, but stay in the table and are paid for"
                } else {
                    "TTL is off: what a clear or a delete leaves behind stays in the table"
                },
                format!(
                    "aws dynamodb update-time-to-live --table-name {} --time-to-live-specification Enabled=true,AttributeName={}",
                    self.table.target().table,
                    match &self.options.ttl_attribute {
                        Some(name) => name,
                        None if is_list => names::LIST_TTL,
                        None => names::TTL,
                    }
                ),
            ),
        }
    }

    async fn permission_findings(&self, place: &Place, cost: &mut Cost) -> Vec<Finding> {
        let mut options = self.options.clone();
        if let Place::List(list) = place {
            // The keys are known by now and need not be requested again.
            (options.layout, options.partition_key) = (Some(Layout::List), Some(list.keys.partition.clone()));
            options.sort_key.clone_from(&list.keys.sort);
        }
        let operations = Use::Sessions.operations(&options);
        let mut denied = Vec::<Action>::new();
        let mut findings = Vec::new();
        for operation in operations {
            // Every permission that a transaction needs, except one, is tested by a request of its own.
            let is_own = |action: &&Action| operation != Operation::TransactWriteItems || **action == Action::ConditionCheckItem;
            let new = || operation.actions().iter().filter(is_own);
            match self.try_harmlessly(operation, place, cost).await {
                Ok(()) => {}
                Err(failure) if failure.trouble() == Trouble::Denied => denied.extend(new()),
                Err(failure) => findings.push(self.stopped(&failure)),
            }
        }
        if !denied.is_empty() {
            denied.sort_unstable();
            denied.dedup();
            let denied: Vec<_> = denied.iter().map(ToString::to_string).collect();
            findings.push(Finding::new(
                Severity::Error,
                Subject::Permissions,
                format!("the credentials lack {}", denied.join(", ")),
                "grant what `chat-memory iam-policy` prints",
            ));
        } else if findings.is_empty() {
            let what = if self.options.read_only { "reading" } else { "reading and writing" };
            findings.push(Finding::fine(Subject::Permissions, format!("the credentials allow {what}")));
        }
        findings
    }

    async fn try_harmlessly(&self, operation: Operation, place: &Place, cost: &mut Cost) -> Result<(), Failure> {
        match (operation, place) {
            // Just requested above; a denial is reported as a finding of its own.
            (Operation::DescribeTimeToLive, _) => Ok(()),
            (_, Place::Turns) => self.table.probe(operation, &self.probe_key(), cost).await,
            (_, Place::List(list)) => {
                let key = Partitions::new(self.options.namespace.as_ref()).probe(list.keys.sort.is_some());
                list.probe(operation, &key, cost).await
            }
        }
    }

    /// A key that no item of a session has. It is inside the namespace, since the credentials may have no access outside it.
    fn probe_key(&self) -> Key {
        let partitions = Partitions::new(self.options.namespace.as_ref());
        Key { pk: format!("{}dir#", partitions.prefix()), sk: "probe".to_owned() }
    }

    fn clock_finding(&self) -> Option<Finding> {
        let skew = self.table.skew_ms()?;
        let (off, direction) = (skew.unsigned_abs(), if skew > 0 { "behind" } else { "ahead of" });
        let severity = match off {
            SKEW_ERROR_MS.. => Severity::Error,
            SKEW_WARNING_MS.. => Severity::Warning,
            _ => return Some(Finding::fine(Subject::Clock, "this machine's clock agrees with DynamoDB's")),
        };
        let what = format!("this machine's clock is {} s {direction} DynamoDB's", off / 1000);
        Some(Finding::new(severity, Subject::Clock, what, "set it, and keep it synchronized by NTP"))
    }

    async fn backup_finding(&self, cost: &mut Cost) -> Option<Finding> {
        let remedy = || {
            format!(
                "aws dynamodb update-continuous-backups --table-name {} --point-in-time-recovery-specification \
                 PointInTimeRecoveryEnabled=true",
                self.table.target().table
            )
        };
        match self.table.point_in_time_recovery(cost).await {
            Ok(true) => Some(Finding::fine(Subject::Backups, "point-in-time recovery is on")),
            Ok(false) => Some(Finding::new(
                Severity::Hint,
                Subject::Backups,
                "point-in-time recovery is off: what is deleted or overwritten by mistake cannot be restored",
                remedy(),
            )),
            // DynamoDB Local has no backups.
            Err(failure) if failure.trouble() == Trouble::Unknown => None,
            Err(failure) => Some(self.unseen(&failure, Subject::Backups, "its backups")),
        }
    }

    /// A finding that something could not be read.
    fn unseen(&self, failure: &Failure, subject: Subject, what: &str) -> Finding {
        let error = failure.clone().into_error(self.table.target(), None);
        if failure.trouble() == Trouble::Denied {
            let lacking: Vec<_> = failure.operation.actions().iter().map(ToString::to_string).collect();
            Finding::new(
                Severity::Hint,
                subject,
                format!("cannot check {what}: the credentials lack {}", lacking.join(", ")),
                "run the check with the permissions that `chat-memory iam-policy --for table-check` prints",
            )
        } else {
            Finding { severity: Severity::Warning, subject, what: error.to_string(), remedy: None }
        }
    }

    /// A finding that a request failed.
    fn stopped(&self, failure: &Failure) -> Finding {
        let subject = match failure.trouble() {
            Trouble::Credentials | Trouble::Expired | Trouble::Denied => Subject::Permissions,
            Trouble::Clock => Subject::Clock,
            Trouble::KeySchema => Subject::Keys,
            _ => Subject::Table,
        };
        let severity = if passes(failure) { Severity::Warning } else { Severity::Error };
        // The message already names its remedy.
        let what = failure.clone().into_error(self.table.target(), None).to_string();
        Finding { severity, subject, what, remedy: None }
    }
}
