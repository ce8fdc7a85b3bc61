use crate::app::App;
use crate::failure::Failure;
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create,
}
pub async fn run(_app: &App, _: Command) -> Result<(), Failure> {
    Err(Failure::usage("later"))
}
