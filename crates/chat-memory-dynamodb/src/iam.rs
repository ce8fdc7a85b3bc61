//! The permissions that a configuration needs, as an IAM policy: no action and no partition beyond those.

use std::fmt;

use serde_json::{Value, json};

use super::Options;
use super::options::TableArn;
use crate::options::Layout;

/// What a configuration is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Use {
    /// Appending, loading, clearing, deleting and listing sessions; only the reads among these if the options set `read_only`.
    ///
    /// The layout is taken from the options, since no request is made: [`Options::layout`].
    Sessions,
    /// The same for the HTTP service, whose keys may have namespaces inside the options' own (`OWN/KEY'S`).
    Service,
    /// Listing all sessions of a table, whatever their owner: `sessions --all`, and `migrate` without naming sessions. This is a
    /// scan, which a namespace cannot narrow.
    AllSessions,
    /// `table create`: creating the table and turning on its TTL.
    TableCreate,
    /// `table sweep` of a whole table. It begins with a scan, which a namespace cannot narrow.
    TableSweep,
    /// `table check`: reading the table's settings and a sample of its items. The actions on sessions that it probes are part of
    /// [`Use::Sessions`].
    TableCheck,
}

/// An IAM action of DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "AWS's own names say all there is to say")]
pub enum Action {
    ConditionCheckItem,
    CreateTable,
    DeleteItem,
    DescribeContinuousBackups,
    DescribeTable,
    DescribeTimeToLive,
    GetItem,
    PutItem,
    Query,
    Scan,
    UpdateItem,
    UpdateTimeToLive,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dynamodb:{self:?}")
    }
}

/// The requests that this library makes, named as DynamoDB's operations, and what each needs in a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    CreateTable,
    DeleteItem,
    DescribeContinuousBackups,
    DescribeTable,
    DescribeTimeToLive,
    GetItem,
    PutItem,
    Query,
    Scan,
    TransactWriteItems,
    UpdateItem,
    UpdateTimeToLive,
}

impl Operation {
    pub(crate) const ALL: [Self; 12] = [
        Self::CreateTable,
        Self::DeleteItem,
        Self::DescribeContinuousBackups,
        Self::DescribeTable,
        Self::DescribeTimeToLive,
        Self::GetItem,
        Self::PutItem,
        Self::Query,
        Self::Scan,
        Self::TransactWriteItems,
        Self::UpdateItem,
        Self::UpdateTimeToLive,
    ];

    /// The actions that IAM must allow for it.
    pub(crate) fn actions(self) -> &'static [Action] {
        match self {
            Self::CreateTable => &[Action::CreateTable],
            Self::DeleteItem => &[Action::DeleteItem],
            Self::DescribeContinuousBackups => &[Action::DescribeContinuousBackups],
            Self::DescribeTable => &[Action::DescribeTable],
            Self::DescribeTimeToLive => &[Action::DescribeTimeToLive],
            Self::GetItem => &[Action::GetItem],
            Self::PutItem => &[Action::PutItem],
            Self::Query => &[Action::Query],
            Self::Scan => &[Action::Scan],
            // A transaction has no action of its own: IAM requires those of its parts.
            Self::TransactWriteItems => &[Action::ConditionCheckItem, Action::DeleteItem, Action::PutItem, Action::UpdateItem],
            Self::UpdateItem => &[Action::UpdateItem],
            Self::UpdateTimeToLive => &[Action::UpdateTimeToLive],
        }
    }

    /// Whether it changes anything.
    pub(crate) fn writes(self) -> bool {
        match self {
            Self::CreateTable
            | Self::DeleteItem
            | Self::PutItem
            | Self::TransactWriteItems
            | Self::UpdateItem
            | Self::UpdateTimeToLive => true,
            Self::DescribeContinuousBackups
            | Self::DescribeTable
            | Self::DescribeTimeToLive
            | Self::GetItem
            | Self::Query
            | Self::Scan => false,
        }
    }

    /// Whether it acts on items, so that a namespace narrows it, rather than on the table as such.
    fn is_about_items(self) -> bool {
        matches!(
            self,
            Self::DeleteItem | Self::GetItem | Self::PutItem | Self::Query | Self::TransactWriteItems | Self::UpdateItem
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Use {
    /// The requests that this use needs under these options. (If a table's keys turn out to be different, it is also described, to
    /// improve the error; if that is denied, the error says less.)
    pub(crate) fn operations(self, options: &Options) -> Vec<Operation> {
        match self {
            Self::Service => Self::Sessions.operations(options),
            Self::Sessions if options.said_layout() == Some(Layout::List) => of_a_list(options),
            Self::Sessions if options.read_only => vec![Operation::GetItem, Operation::Query],
            // Needed even without a retention: what a sweep leaves is purged by the table's TTL attribute. And if another
            // configuration wrote a record that is about to expire, the next record is written in a transaction with a check on it.
            Self::Sessions => {
                let is_needed = |operation: &Operation| operation.is_about_items() || *operation == Operation::DescribeTimeToLive;
                Operation::ALL.into_iter().filter(is_needed).collect()
            }
            Self::TableCreate => {
                vec![Operation::CreateTable, Operation::DescribeTable, Operation::DescribeTimeToLive, Operation::UpdateTimeToLive]
            }
            // A scan succeeds whatever the keys are, so the table must be described to learn its layout.
            Self::AllSessions if options.said_layout().is_none() => {
                vec![Operation::Scan, Operation::DescribeTable, Operation::Query]
            }
            Self::AllSessions if options.said_layout() == Some(Layout::List) && options.asks_for_keys() => {
                vec![Operation::Scan, Operation::DescribeTable]
            }
            Self::AllSessions if options.said_layout() == Some(Layout::List) => vec![Operation::Scan],
            // Some entries are listed only if their session's newest record confirms it.
            Self::AllSessions => vec![Operation::Scan, Operation::Query],
            Self::TableSweep if options.said_layout() == Some(Layout::List) => {
                let mut operations = of_a_list(options);
                operations.retain(|operation| *operation != Operation::UpdateItem);
                operations.push(Operation::Scan);
                operations
            }
            Self::TableSweep => {
                let mut operations = vec![Operation::Scan, Operation::Query, Operation::PutItem, Operation::DeleteItem];
                operations.extend([Operation::UpdateItem, Operation::DescribeTimeToLive]);
                operations
            }
            Self::TableCheck => {
                vec![
                    Operation::DescribeTable,
                    Operation::DescribeTimeToLive,
                    Operation::DescribeContinuousBackups,
                    Operation::Scan,
                ]
            }
        }
    }
}

/// What the `list` layout needs for sessions. A short one needs less: `PutItem` moves the older part of a long session into an item
/// of its own and notes what a rewind or a clear removes, `DeleteItem` erases the parts of large records.
fn of_a_list(options: &Options) -> Vec<Operation> {
    let mut operations = vec![Operation::GetItem];
    if !options.read_only {
        operations.extend([Operation::DeleteItem, Operation::PutItem, Operation::UpdateItem]);
    }
    // A reader asks only if it must know by which attribute sessions expire.
    if !options.read_only || options.retention.is_some() && options.ttl_attribute.is_none() {
        operations.push(Operation::DescribeTimeToLive);
    }
    if options.asks_for_keys() {
        operations.push(Operation::DescribeTable);
    }
    operations
}

/// Builds the least-privilege IAM policy for these uses of a configuration. The table's ARN has a placeholder for whatever is
/// unknown: `REGION`, and `ACCOUNT_ID` if no `account` (12 digits) is given.
///
/// A namespace restricts the sessions' actions to its partitions with `dynamodb:LeadingKeys`.
///
/// ```
/// use chat_memory::store::dynamodb::Options;
/// use chat_memory::store::dynamodb::iam::{Use, policy};
/// let options = Options::new("chats").with_region("eu-west-1").with_read_only(true);
/// let policy = policy(&options, &[Use::Sessions], Some("111122223333"));
/// assert_eq!(policy["Statement"][0]["Action"], serde_json::json!(["dynamodb:GetItem", "dynamodb:Query"]));
/// assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:dynamodb:eu-west-1:111122223333:table/chats");
/// ```
pub fn policy(options: &Options, uses: &[Use], account: Option<&str>) -> Value {
    let operations: Vec<_> = uses.iter().flat_map(|purpose| purpose.operations(options)).collect();
    let arn = table_arn(options, account);
    let (items, table): (Vec<_>, Vec<_>) = operations.into_iter().partition(|operation| operation.is_about_items());
    let mut statements = Vec::new();
    if !items.is_empty() {
        let mut statement = statement("ChatMemorySessions", &items, &arn);
        if let Some(namespace) = &options.namespace {
            // ForAllValues also holds for a request without any leading key, but none of these actions makes one.
            let mut keys = vec![format!("ns#{namespace}#*")];
            if uses.contains(&Use::Service) {
                keys.push(format!("ns#{namespace}/*"));
            }
            statement["Condition"] = json!({ "ForAllValues:StringLike": { "dynamodb:LeadingKeys": keys } });
        }
        statements.push(statement);
    }
    if !table.is_empty() {
        statements.push(statement("ChatMemoryTable", &table, &arn));
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statement(id: &str, operations: &[Operation], arn: &str) -> Value {
    let mut actions: Vec<_> = operations.iter().flat_map(|operation| operation.actions()).collect();
    actions.sort_unstable();
    actions.dedup();
    let actions: Vec<_> = actions.iter().map(ToString::to_string).collect();
    json!({ "Sid": id, "Effect": "Allow", "Action": actions, "Resource": arn })
}

fn table_arn(options: &Options, account: Option<&str>) -> String {
    let table = &options.table;
    if TableArn::of(table).is_some() {
        return table.clone();
    }
    let region = options.known_region().unwrap_or("REGION");
    let account = account.unwrap_or("ACCOUNT_ID");
    format!("arn:{}:dynamodb:{region}:{account}:table/{table}", partition_of(region))
}

/// The AWS partition that a region belongs to, by AWS's region prefixes.
fn partition_of(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("us-iso-", "aws-iso"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    partitions.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_memory_core::Namespace;

    #[test]
    fn namespace_restricts_item_actions_only() {
        let namespace = Namespace::new("tenant-7").expect("a name");
        let options = Options::new("chats").with_namespace(namespace);
        let policy = policy(&options, &[Use::Sessions], None);
        assert_eq!(
            policy,
            json!({
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "ChatMemorySessions",
                        "Effect": "Allow",
                        "Action": [
                            "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem",
                            "dynamodb:Query", "dynamodb:UpdateItem",
                        ],
                        "Resource": "arn:aws:dynamodb:REGION:ACCOUNT_ID:table/chats",
                        "Condition": { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": ["ns#tenant-7#*"] } },
                    },
                    {
                        "Sid": "ChatMemoryTable",
                        "Effect": "Allow",
                        "Action": ["dynamodb:DescribeTimeToLive"],
                        "Resource": "arn:aws:dynamodb:REGION:ACCOUNT_ID:table/chats",
                    },
                ],
            })
        );
    }

    #[test]
    fn service_policy_includes_nested_namespaces() {
        let options = Options::new("chats").with_namespace(Namespace::new("prod").expect("a name"));
        let condition = &policy(&options, &[Use::Service], None)["Statement"][0]["Condition"];
        assert_eq!(condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], json!(["ns#prod#*", "ns#prod/*"]));
    }

    #[test]
    fn policy_uses_combine_without_duplicates() {
        let policy = policy(&Options::new("chats").with_region("cn-north-1"), &[Use::TableCreate, Use::TableCheck], None);
        assert_eq!(
            policy["Statement"][0]["Action"],
            json!([
                "dynamodb:CreateTable",
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:Scan",
                "dynamodb:UpdateTimeToLive",
            ])
        );
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws-cn:dynamodb:cn-north-1:ACCOUNT_ID:table/chats");
        assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(1), "no statement about items");
    }

    #[test]
    fn table_arn_is_used_verbatim() {
        let arn = "arn:aws-us-gov:dynamodb:us-gov-west-1:111122223333:table/chats";
        assert_eq!(policy(&Options::new(arn), &[Use::Sessions], None)["Statement"][0]["Resource"], arn);
    }
}
