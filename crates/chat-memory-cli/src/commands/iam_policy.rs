use crate::app::App;
use crate::failure::Failure;
#[derive(Debug, clap::Args)]
pub struct Arguments {}
pub fn run(_app: &App, _: Arguments) -> Result<(), Failure> {
    Err(Failure::usage("later"))
}
