//! The program as a service: started on a free port, called over HTTP, stopped.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;

use super::Place;

/// A running service. It is killed when this is dropped.
pub struct Service {
    child: Child,
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    /// What it printed when it started.
    pub greeting: Vec<String>,
    log: Option<JoinHandle<String>>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A client with persistent connections.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    pub url: String,
    pub key: Option<String>,
}

impl Service {
    /// Starts it with these arguments after `serve --listen 127.0.0.1:0`, and waits until it listens.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        Self::run(place.command(all))
    }

    /// Runs this command of the program, and waits until it listens.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut errors = child.stderr.take().expect("piped");
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            errors.read_to_string(&mut log).map_or_else(|e| e.to_string(), |_| log)
        });
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut greeting = Vec::new();
        for line in lines {
            greeting.push(line);
            if greeting.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
                break;
            }
        }
        let url = greeting.first().and_then(|line| line.strip_prefix("listening on ")).map(str::to_owned);
        let Some(url) = url else {
            let status = child.wait();
            panic!("it did not start ({status:?}): {greeting:?} {}", log.join().unwrap_or_default());
        };
        Self { child, url, greeting, log: Some(log) }
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        let address = self.url.rsplit('/').next().expect("a URL");
        address.parse().expect("an address")
    }

    /// A separate connection.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).expect("a connection")
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until it exits; returns its status and its log.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("its end");
        (status, self.log.take().expect("taken once").join().expect("its log"))
    }

    /// Stops it as an orchestrator does, and waits until it has exited.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections_per_host(1).build();
        Self { agent: config.into(), url: url.to_owned(), key: None }
    }

    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::new(&self.url) }
    }

    /// The response, or why there is none.
    pub fn try_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer, String> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("Content-Type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        let mut response = self.agent.run(request).map_err(|e| e.to_string())?;
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(100_000_000).read_to_string().map_err(|e| e.to_string())?;
        Ok(Answer { status, headers, body })
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_ask(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Appends a user message.
    #[track_caller]
    pub fn say(&self, session: &str, text: &str) -> Answer {
        self.ask("POST", &format!("/v1/sessions/{session}/messages"), &[], &body_of(text))
    }

    /// The texts of a session.
    #[track_caller]
    pub fn texts(&self, session: &str) -> Vec<String> {
        let mut texts = Vec::new();
        let mut after = "start".to_owned();
        loop {
            let page = self.get(&format!("/v1/sessions/{session}/messages?limit=1000&after={after}")).json();
            let messages = page["messages"].as_array().expect("messages").iter();
            texts.extend(messages.map(|message| message["content"].as_str().expect("a text").to_owned()));
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return texts,
            }
        }
    }
}

/// A body that appends a user message.
pub fn body_of(text: &str) -> String {
    serde_json::json!({ "messages": [{ "role": "user", "content": text }] }).to_string()
}
