//! `chat-memory`: durable chat memory on DynamoDB or SQLite, from the command line.

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    chat_memory_cli::run()
}
