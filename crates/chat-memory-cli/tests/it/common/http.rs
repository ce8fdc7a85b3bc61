//! A small HTTP server that answers byte by byte as a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A received request.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// What to do with a connection, step by step.
#[derive(Debug, Clone)]
pub enum Do {
    /// Send these bytes, at once.
    Send(Vec<u8>),
    /// Wait until the client disconnects.
    Hang,
}

/// The server; it lives as long as the test's process.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server on a free port. It performs what `answer` returns, then closes the connection.
    pub fn start(answer: impl Fn(&Request) -> Vec<Do> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panicked in it").clone()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Vec<Do>, seen: &Mutex<Vec<Request>>) {
    let Some(request) = read(&stream) else { return };
    seen.lock().expect("no test panicked in it").push(request.clone());
    // In some tests the client disconnects first on purpose.
    let _ = stream.set_nodelay(true);
    for step in answer(&request) {
        match step {
            Do::Send(bytes) => {
                if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
            Do::Hang => {
                let _ = stream.read(&mut [0]);
            }
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8(body).ok()? })
}

/// A whole response.
pub fn response(status: &str, kind: &str, body: &str) -> Vec<Do> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    vec![Do::Send((head + body).into_bytes())]
}

/// The head of a response whose body continues until the connection closes, in chunks or not.
pub fn head(kind: &str, chunked: bool) -> Do {
    let encoding = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
    Do::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{encoding}connection: close\r\n\r\n").into_bytes())
}

/// A chunk of a chunked body; the empty one ends it.
pub fn chunk(bytes: &[u8]) -> Do {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend(bytes);
    chunk.extend(b"\r\n");
    Do::Send(chunk)
}
