//! `chat-memory`: durable chat memory on DynamoDB or SQLite, from the command line.

fn main() -> std::process::ExitCode {
    chat_memory_cli::run()
}
