//! The original clients that tests share tables with: LangChain.js, Flowise's node and LangChain Python, each in its own process
//! that reads one command per line. `cargo xtask test` installs them and sets their paths.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The kind of original client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `@langchain/community`'s `DynamoDBChatMessageHistory`.
    LangChainJs,
    /// Flowise's *DynamoDB Chat Memory* node.
    Flowise,
    /// `langchain_community`'s `DynamoDBChatMessageHistory`.
    LangChainPython,
}

/// A running original client.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts one on this DynamoDB Local.
    ///
    /// # Panics
    /// If it is not installed: the test must fail, not skip.
    pub fn start(kind: Kind, endpoint: &str) -> Self {
        let (variable, program, script) = match kind {
            Kind::LangChainJs => ("CHAT_MEMORY_PEER_JS", "node", "driver.mjs"),
            Kind::Flowise => ("CHAT_MEMORY_PEER_FLOWISE", "node", "driver.cjs"),
            Kind::LangChainPython => ("CHAT_MEMORY_PEER_PYTHON", "python3", "driver.py"),
        };
        let folder = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
            panic!("{variable} does not say where {kind:?} is: run `cargo xtask test peers`, or export what `cargo xtask peers` prints")
        });
        let mut command = Command::new(program);
        command.arg(script).env("PYTHONPATH", folder.join("packages")).current_dir(&folder);
        // Flowise's node has no endpoint setting; the AWS SDK does.
        for (name, value) in [
            ("DYNAMODB_ENDPOINT", endpoint),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ] {
            command.env(name, value);
        }
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{program} cannot be started for {kind:?}: {e}"));
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { panic!("the pipes were requested") };
        Self { child, input, output: BufReader::new(output) }
    }

    /// Adds messages: LangChain's stored form, or for Flowise `{"text", "type": "userMessage" | "apiMessage"}`. Returns its error
    /// output if it fails.
    pub fn add(&mut self, table: &str, session: &str, options: &Value, messages: &Value) -> Result<(), String> {
        self.ask(json!({"op": "add", "table": table, "session": session, "options": options, "messages": messages})).map(drop)
    }

    /// Reads a session's messages, in LangChain's stored form.
    pub fn read(&mut self, table: &str, session: &str, options: &Value) -> Result<Vec<Value>, String> {
        let answer = self.ask(json!({"op": "read", "table": table, "session": session, "options": options}))?;
        answer.as_array().cloned().ok_or_else(|| format!("expected a list, got {answer}"))
    }

    /// Clears a session.
    pub fn clear(&mut self, table: &str, session: &str, options: &Value) -> Result<(), String> {
        self.ask(json!({"op": "clear", "table": table, "session": session, "options": options})).map(drop)
    }

    fn ask(&mut self, command: Value) -> Result<Value, String> {
        writeln!(self.input, "{command}").map_err(|e| format!("writing to it failed: {e}"))?;
        let mut line = String::new();
        // Some packages print a greeting.
        while !line.starts_with('{') {
            line.clear();
            let read = self.output.read_line(&mut line).map_err(|e| format!("reading from it failed: {e}"))?;
            if read == 0 {
                return Err("it ended without an answer".to_owned());
            }
        }
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("it answered {line:?}: {e}"))?;
        answer.get("error").and_then(Value::as_str).map_or_else(|| Ok(answer["messages"].clone()), |error| Err(error.to_owned()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
