//! `chat-memory-lambda`: the service as AWS Lambda starts it, under the name `bootstrap`. See docs/deploying.md for packaging.

use std::path::PathBuf;
use std::process::ExitCode;

use chat_memory::Error;
use chat_memory_server::config::{self, Settings};
use chat_memory_server::{lambda, log};
use clap::Parser;

/// The service on AWS Lambda. Its settings are environment variables of the function; see docs/deploying.md.
#[derive(Parser)]
struct Cli {
    /// The table, as in dynamodb://chats
    #[arg(long, value_name = "URL", env = "CHAT_MEMORY_STORE")]
    store: Option<String>,
    /// A TOML file of settings
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(config::parse().unwrap_or_else(|help_or_error: clap::Error| help_or_error.exit())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat-memory-lambda: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Error> {
    let file = cli.config.map(|path| Settings::read(&path)).transpose()?.unwrap_or_default();
    let mut settings = cli.settings.over(file).over(lambda::defaults());
    settings.store = cli.store.filter(|url| !url.is_empty()).or(settings.store);
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(Error::invalid("this is not AWS Lambda; run `chat-memory serve` elsewhere"));
    }
    log::start(settings.log.unwrap_or_default(), settings.log_format.unwrap_or_default());
    lambda::run(lambda::service(&settings)?).await
}
