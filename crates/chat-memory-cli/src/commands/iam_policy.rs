//! `iam-policy`

use chat_memory::store::dynamodb::iam::{Use, policy};
use clap::{Args, ValueEnum};

use crate::app::App;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  export CHAT_MEMORY_STORE='dynamodb://chats?region=eu-west-1&namespace=acme'
  chat-memory iam-policy --account 111122223333
  chat-memory iam-policy --read-only
  chat-memory iam-policy --for sessions --for table-create
  chat-memory --store 'dynamodb://flowise?layout=list' iam-policy

It sends no request to AWS. The region is the store URL's, else that of AWS_REGION or AWS_DEFAULT_REGION; what is unknown appears in the \
policy as REGION and ACCOUNT_ID. For a table of Flowise or LangChain, set layout=list in the URL. A namespace narrows the policy to its partitions.";

/// Print the least-privilege IAM policy for the store URL
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The AWS account, 12 digits
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// What the policy is for; may be repeated
    #[arg(long = "for", value_enum, value_name = "USE", default_value = "sessions")]
    uses: Vec<Purpose>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Purpose {
    /// All uses of sessions: every command except `table create` and `table check`
    Sessions,
    /// `serve`: the same, with the namespaces of keys within the store URL's own
    Serve,
    /// `sessions --all`, and `migrate` without naming sessions
    AllSessions,
    /// `table create`
    TableCreate,
    /// `table check`
    TableCheck,
    /// `table sweep` of a whole table
    TableSweep,
}

impl From<Purpose> for Use {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Sessions => Self::Sessions,
            Purpose::Serve => Self::Service,
            Purpose::AllSessions => Self::AllSessions,
            Purpose::TableCreate => Self::TableCreate,
            Purpose::TableCheck => Self::TableCheck,
            Purpose::TableSweep => Self::TableSweep,
        }
    }
}

pub fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let mut options = app.table("iam-policy")?;
    if let Some(account) = &arguments.account
        && (account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(Failure::usage("--account takes the 12 digits of an AWS account"));
    }
    if options.region.is_none() {
        let variable = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
        options.region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    }
    let uses: Vec<Use> = arguments.uses.into_iter().map(Use::from).collect();
    let policy = policy(&options, &uses, arguments.account.as_deref());
    // Formatted as the AWS console shows policies; with --json it is one line.
    if app.json() { app.out.json(&policy) } else { app.out.line(format_args!("{policy:#}")) }
}
