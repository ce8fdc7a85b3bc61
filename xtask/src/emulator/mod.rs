//! AWS's DynamoDB Local: downloading it ([`package`]), the Java that runs it ([`java`]), and running instances.

mod java;
pub mod package;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::cargo::scratch;

/// How long DynamoDB Local may take to start. It takes about two seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Becomes Java, leaving a watcher behind that kills it when this program ends. The watcher reads from a pipe that only this
/// program holds open, so it notices even a `kill -9`.
const GUARD: &str = r#"
exec 3<&0 </dev/null
(read -r _ <&3; kill -9 $$) >/dev/null 2>&1 &
exec "$@" 3<&-
"#;

/// A DynamoDB Local to test against.
pub struct Endpoint {
    url: String,
    /// The instance that we started; `None` if DYNAMODB_ENDPOINT names one.
    own: Option<Process>,
}

impl Endpoint {
    /// The instance that DYNAMODB_ENDPOINT names; otherwise starts one on a free port.
    pub fn from_env_or_start() -> Result<Self> {
        match std::env::var("DYNAMODB_ENDPOINT") {
            Ok(url) if !url.is_empty() => {
                println!("using the DynamoDB Local at {url} (DYNAMODB_ENDPOINT)");
                Ok(Self { url, own: None })
            }
            _ => Self::start(None),
        }
    }

    /// Starts one on this port, or on a free port.
    pub fn start(port: Option<u16>) -> Result<Self> {
        let java = java::find_or_install()?;
        let folder = package::folder()?;
        let process = match port {
            Some(port) => Process::start(&java, &folder, port)?,
            None => Process::start_on_a_free_port(&java, &folder)?,
        };
        let url = format!("http://127.0.0.1:{}", process.port);
        println!("DynamoDB Local runs at {url}");
        Ok(Self { url, own: Some(process) })
    }

    /// The environment variables that point tests to it. The credentials are no secret: it accepts any.
    pub fn env(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("DYNAMODB_ENDPOINT", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_REGION", "us-east-1"),
        ]
        .into_iter()
    }

    /// Waits until it exits by itself, which it should not.
    pub fn wait(&mut self) -> Result {
        let Some(process) = &mut self.own else { return Ok(()) };
        let status = process.child.wait().map_err(|e| format!("DynamoDB Local cannot be waited for: {e}."))?;
        process.keep_log = true;
        Err(format!("DynamoDB Local ended ({status}); its output is in {}.", process.log.display()))
    }

    /// Keeps the log of the instance that we started, and prints its path.
    pub fn keep_log(&mut self) -> Option<PathBuf> {
        let process = self.own.as_mut()?;
        process.keep_log = true;
        Some(process.log.clone())
    }
}

/// A running DynamoDB Local. It stops when this is dropped, and when this program ends in any way.
struct Process {
    child: Child,
    /// Closing it makes the watcher stop Java.
    lifeline: Option<ChildStdin>,
    port: u16,
    log: PathBuf,
    keep_log: bool,
}

impl Process {
    /// Starts on a free port. If another program takes the port before Java does, tries the next one.
    fn start_on_a_free_port(java: &Path, folder: &Path) -> Result<Self> {
        let mut tries_left = 2;
        loop {
            match Self::start(java, folder, free_port()?) {
                Err(_) if tries_left > 0 => tries_left -= 1,
                started => return started,
            }
        }
    }

    fn start(java: &Path, folder: &Path, port: u16) -> Result<Self> {
        // Otherwise another server's answer could pass for Java's.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|e| format!("port {port} cannot be had: {e}. Name another."))?;
        let scratch = scratch()?;
        remove_old_logs(&scratch);
        let log = scratch.join(format!("dynamodb-local-{port}.log"));
        let output = File::create(&log).map_err(|e| format!("the log {} could not be made: {e}.", log.display()))?;
        let errors = output.try_clone().map_err(|e| format!("the log {} could not be opened twice: {e}.", log.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(java);
        command.arg(format!("-Djava.library.path={}", folder.join("DynamoDBLocal_lib").display()));
        command.arg("-jar").arg(folder.join("DynamoDBLocal.jar"));
        command.args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()]);
        // A process group of its own: Ctrl-C ends the tests first, then DynamoDB Local with this program. It writes a file into its
        // working directory, so that is not the cache.
        command.process_group(0).current_dir(&scratch).stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut child = command.spawn().map_err(|e| format!("`sh`, which starts DynamoDB Local, could not be started: {e}."))?;
        let lifeline = child.stdin.take();
        let mut process = Self { child, lifeline, port, log, keep_log: false };
        process.wait_until_it_answers().inspect_err(|_| process.keep_log = true)?;
        Ok(process)
    }

    fn wait_until_it_answers(&mut self) -> Result {
        let start = Instant::now();
        loop {
            let log = self.log.display();
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(format!("DynamoDB Local ended at once ({status}); its output is in {log}.")),
                Err(e) => return Err(format!("DynamoDB Local cannot be watched: {e}.")),
            }
            if answers(self.port) {
                return Ok(());
            }
            if start.elapsed() > START_TIMEOUT {
                let waited = START_TIMEOUT.as_secs();
                return Err(format!("DynamoDB Local did not answer within {waited} seconds; its output is in {log}."));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Stop the watcher first, while the process id is certainly still Java's.
        drop(self.lifeline.take());
        // Both fail only if the process has already ended, or if there is nothing else to try.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.keep_log {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// Removes what killed runs left behind at least a day ago.
fn remove_old_logs(scratch: &Path) {
    let day = Duration::from_secs(24 * 60 * 60);
    for file in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let is_old = || Some(file.metadata().ok()?.modified().ok()?.elapsed().ok()? > day);
        if file.path().extension().is_some_and(|extension| extension == "log") && is_old() == Some(true) {
            // A leftover file does no harm.
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// Returns a port of this machine that is free now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(|e| format!("this machine gives no free port: {e}."))?.port())
}

/// Whether a server there speaks HTTP. DynamoDB Local refuses the bare request, but it answers.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP/")
    };
    ask().unwrap_or(false)
}
