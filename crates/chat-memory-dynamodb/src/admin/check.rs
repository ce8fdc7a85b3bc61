//! `table check`: whether a table, the credentials and this machine's clock are fit for sessions, each finding with its
//! remedy. Nothing is changed: what writes is tried on a condition that cannot hold.

use std::fmt;

use super::super::iam::{Action, Operation, Use};
use super::super::list::Contents;
use super::super::names::{self, Partitions};
use super::super::sdk::{Failure, Schema, SdkList, TTL_TAKEN, Trouble};
use super::super::table::Attributes;
use super::super::turns;
use super::{Admin, Description, passes};
use chat_memory_core::backend::Layout;
use chat_memory_core::store::Receipt;

/// From which difference on a clock is worth a warning, and from which an error: AWS refuses requests signed five
/// minutes off (some of its services 15), and expiry goes by this machine's clock.
const SKEW_WARNING_MS: u64 = 60_000;
const SKEW_ERROR_MS: u64 = 5 * 60_000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is as it should be.
    Fine,
    /// It could be better.
    Hint,
    /// Something will not work as promised, some day or for some use.
    Warning,
    /// Sessions cannot be kept so.
    Error,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// Whether the table answers at all.
    Table,
    /// The names and types of its keys.
    Keys,
    /// What lies in it.
    Items,
    /// What DynamoDB purges.
    TimeToLive,
    /// Replicas in other regions.
    Replicas,
    /// What the credentials may do.
    Permissions,
    /// This machine's clock against AWS's.
    Clock,
    /// Point-in-time recovery.
    Backups,
    /// Protection of the table from being deleted.
    DeletionProtection,
}

/// Something found out about a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What was found, a sentence without a full stop.
    pub what: String,
    /// What to do about it; `None` where nothing is to be done.
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

/// Where sessions lie in a table that they fit in.
pub(super) enum Place {
    /// In one item a record.
    Turns,
    /// In one item a session.
    List(SdkList),
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
    /// Looks at everything that sessions depend on. It costs some requests and up to ten write units, and changes nothing.
    ///
    /// Where the table does not answer at all, that is the only finding. What the credentials may not look at is a hint.
    pub async fn check(&self) -> Vec<Finding> {
        let receipt = &mut Receipt::default();
        let mut findings = Vec::new();
        let described = self.table.describe(receipt).await;
        let schema = described.as_ref().ok().map(|table| &table.schema);
        let looked = match &described {
            Ok(_) => Some(self.table.sample(receipt).await),
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
                // An answer dates itself even where it is a refusal, which the clock may be the reason of.
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
        findings.push(match self.table.time_to_live(receipt).await {
            Ok(attribute) => self.ttl_finding(attribute.as_deref(), place.as_ref()),
            Err(failure) => self.unseen(&failure, Subject::TimeToLive, "its TTL"),
        });
        if let Some(place) = &place {
            findings.extend(self.permission_findings(place, receipt).await);
        }
        findings.extend(self.clock_finding());
        findings.extend(self.backup_finding(receipt).await);
        findings
    }

    fn table_findings(&self, table: &Description, keys: Finding) -> Vec<Finding> {
        let target = self.table.target();
        let mut findings = vec![Finding::fine(Subject::Table, format!("{target} answers"))];
        if !table.usable {
            let what = format!("{target} is being made or deleted, and takes no requests now");
            findings[0] = Finding::new(Severity::Error, Subject::Table, what, "look again in a minute");
        }
        findings.push(keys);
        findings.push(if table.replicas.is_empty() {
            Finding::fine(Subject::Replicas, "the table is in one region only")
        } else {
            Finding::new(
                Severity::Warning,
                Subject::Replicas,
                format!(
                    "the table has replicas ({}), and what keeps concurrent writers from losing messages \
                     holds within one region only",
                    table.replicas.join(", ")
                ),
                "write each session from one region",
            )
        });
        findings.push(if table.deletion_protection {
            Finding::fine(Subject::DeletionProtection, "the table is protected from being deleted")
        } else {
            Finding::new(
                Severity::Hint,
                Subject::DeletionProtection,
                "the table can be deleted by one mistaken call",
                format!("aws dynamodb update-table --table-name {} --deletion-protection-enabled", target.table),
            )
        });
        findings
    }

    /// Where sessions lie in a table of these keys (or whose keys may not be looked at), and what is to be said of the keys.
    /// `contents` is what some of its items hold, where that is known.
    pub(super) fn place(&self, schema: Option<&Schema>, contents: Option<&Contents>) -> (Option<Place>, Finding) {
        let layout = self.options.said_layout();
        let is_of_lists = contents.is_some_and(|contents| contents.lists && !contents.turns);
        let is_list =
            layout == Some(Layout::List) || layout.is_none() && schema.is_some_and(|schema| schema.sort.is_none() || is_of_lists);
        if is_list {
            return match SdkList::open(self.table.clone(), &self.options, schema.cloned()) {
                Ok(list) => {
                    let sort = list.sort_key.as_deref().zip(self.options.sort_value.as_deref());
                    let sort = sort.map(|(key, value)| format!(", {key:?} being {value:?}")).unwrap_or_default();
                    let what = match (&list.sort_key, &self.options.sort_value) {
                        (Some(sort), None) => format!(
                            "the keys {:?} and {sort:?} fit, with one item a session as LangChain makes it: each pair of keys is a session, \
                             PARTITION/SORT",
                            list.partition_key
                        ),
                        _ => format!(
                            "the key {:?} fits, with one item a session as Flowise and LangChain make it{sort}",
                            list.partition_key
                        ),
                    };
                    (Some(Place::List(list)), Finding::fine(Subject::Keys, what))
                }
                // The sentence names its remedy itself.
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

    /// What is to be said of what lies in the table: of what these settings do not read.
    fn items_finding(&self, contents: &Contents, place: Option<&Place>) -> Option<Finding> {
        let place = place?;
        if let Place::Turns = place {
            return contents.lists.then(|| {
                let what = "the table also holds sessions in the form of LangChain or Flowise, which are not read";
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

    /// What some items say of the directory: that an entry cannot be read, or that some are of the version before.
    fn entries_finding(&self, items: &[Attributes]) -> Option<Finding> {
        let (target, partitions) = (self.table.target(), Partitions::new(self.options.namespace.as_ref()));
        let items = items.iter().filter_map(|item| target.item(item.clone()).ok());
        let entries: Vec<_> = items.filter_map(|item| turns::is_entry_of_today(&partitions, &item)).collect();
        if let Some(Err(error)) = entries.iter().find(|entry| entry.is_err()) {
            let remedy = "all else is listed without it; take it out of the table, unless a newer version writes there, and let \
                          `chat-memory table sweep` say whether there are more";
            return Some(Finding::new(Severity::Warning, Subject::Items, error.to_string(), remedy));
        }
        entries.iter().any(|entry| matches!(entry, Ok(false))).then(|| {
            let what = "the directory has entries of the version before, each of which costs a listing a query of its session";
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
                    format!("the table purges by the attribute {name:?}, but sessions are to expire by {said:?}"),
                    format!("give ttl_attribute={name} in the store URL, or leave it out"),
                ),
                _ => Finding::fine(Subject::TimeToLive, format!("TTL is on, by the attribute {name:?}")),
            },
            Some(name) if self.table.is_taken(name) => Finding::new(
                // Without a retention records bear no expiry, and DynamoDB purges nothing by what else the attribute says.
                if retention { Severity::Error } else { Severity::Warning },
                Subject::TimeToLive,
                format!("the TTL attribute is {name:?}"),
                TTL_TAKEN.replacen("which has", "it has", 1),
            ),
            Some(name) => Finding::fine(Subject::TimeToLive, format!("TTL is on, by the attribute {name:?}")),
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

    async fn permission_findings(&self, place: &Place, receipt: &mut Receipt) -> Vec<Finding> {
        let mut options = self.options.clone();
        if let Place::List(list) = place {
            // The keys are known now, and need not be asked for again.
            (options.layout, options.partition_key) = (Some(Layout::List), Some(list.partition_key.clone()));
            options.sort_key.clone_from(&list.sort_key);
        }
        let operations = Use::Sessions.operations(&options);
        let mut denied = Vec::<Action>::new();
        let mut findings = Vec::new();
        for operation in operations {
            // All but one of the permissions that a transaction needs are tried by requests of their own.
            let is_own = |action: &&Action| operation != Operation::TransactWriteItems || **action == Action::ConditionCheckItem;
            let new = || operation.actions().iter().filter(is_own);
            match self.try_harmlessly(operation, place, receipt).await {
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
                "allow what `chat-memory iam-policy` prints",
            ));
        } else if findings.is_empty() {
            let what = if self.options.read_only { "reading" } else { "reading and writing" };
            findings.push(Finding::fine(Subject::Permissions, format!("the credentials allow {what}")));
        }
        findings
    }

    async fn try_harmlessly(&self, operation: Operation, place: &Place, receipt: &mut Receipt) -> Result<(), Failure> {
        match (operation, place) {
            // Asked for a moment ago; a denial is a finding of its own.
            (Operation::DescribeTimeToLive, _) => Ok(()),
            (_, Place::Turns) => self.table.probe(operation, &self.probe_partition(), receipt).await,
            (_, Place::List(list)) => {
                let key = Partitions::new(self.options.namespace.as_ref()).probe(list.sort_key.is_some());
                list.probe(operation, &key, receipt).await
            }
        }
    }

    /// A partition that no session can have, inside the namespace, where the credentials may be all but blind outside.
    fn probe_partition(&self) -> String {
        let namespace = self.options.namespace.as_ref().map_or_else(String::new, |namespace| format!("ns#{namespace}#"));
        format!("{namespace}dir#")
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
        Some(Finding::new(severity, Subject::Clock, what, "set it, and keep it set by NTP"))
    }

    async fn backup_finding(&self, receipt: &mut Receipt) -> Option<Finding> {
        let remedy = || {
            format!(
                "aws dynamodb update-continuous-backups --table-name {} --point-in-time-recovery-specification \
                 PointInTimeRecoveryEnabled=true",
                self.table.target().table
            )
        };
        match self.table.point_in_time_recovery(receipt).await {
            Ok(true) => Some(Finding::fine(Subject::Backups, "point-in-time recovery is on")),
            Ok(false) => Some(Finding::new(
                Severity::Hint,
                Subject::Backups,
                "point-in-time recovery is off: what is deleted or overwritten by mistake cannot be restored",
                remedy(),
            )),
            // DynamoDB Local, which has no backups.
            Err(failure) if failure.trouble() == Trouble::Unknown => None,
            Err(failure) => Some(self.unseen(&failure, Subject::Backups, "its backups")),
        }
    }

    /// A finding that something could not be looked at.
    fn unseen(&self, failure: &Failure, subject: Subject, what: &str) -> Finding {
        let error = failure.clone().into_error(self.table.target(), None);
        if failure.trouble() == Trouble::Denied {
            let lacking: Vec<_> = failure.operation.actions().iter().map(ToString::to_string).collect();
            Finding::new(
                Severity::Hint,
                subject,
                format!("the credentials may not look at the table for {what}: they lack {}", lacking.join(", ")),
                "check it with credentials that `chat-memory iam-policy` allows to",
            )
        } else {
            Finding { severity: Severity::Warning, subject, what: error.to_string(), remedy: None }
        }
    }

    /// A finding that the table does not do what was tried.
    fn stopped(&self, failure: &Failure) -> Finding {
        let subject = match failure.trouble() {
            Trouble::Credentials | Trouble::Expired | Trouble::Denied => Subject::Permissions,
            Trouble::Clock => Subject::Clock,
            Trouble::KeySchema => Subject::Keys,
            _ => Subject::Table,
        };
        let severity = if passes(failure) { Severity::Warning } else { Severity::Error };
        // The sentence names its remedy itself.
        let what = failure.clone().into_error(self.table.target(), None).to_string();
        Finding { severity, subject, what, remedy: None }
    }
}
