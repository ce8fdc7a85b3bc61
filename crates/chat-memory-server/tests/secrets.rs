//! A program that embeds the service, and logs everything from its dependencies at level `trace`, logs no key and no cookie; and
//! nothing that can be printed of the service contains one.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use chat_memory_server::config::Settings;
use chat_memory_server::keys::{Keys, Right, create};
use chat_memory_server::serve::{Listening, serve};
use chat_memory_server::{Options, Service};
use chat_memory_testkit::{Secrets, Traced};
use tokio::sync::oneshot;

/// Sends a request, and reads its response to the end.
fn ask(address: SocketAddr, request: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

/// All kinds of requests with a key, and with a cookie from logging in with it.
fn ask_all(address: SocketAddr, key: &str, secrets: &mut Secrets) {
    let (form, bearer) = ("Content-Type: application/x-www-form-urlencoded\r\n", format!("Authorization: Bearer {key}\r\n"));
    let login = ask(address, "POST /console/login", form, &format!("key={key}"));
    let cookie = login.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {login}"));
    // Its token and its signature; its other parts are no secret.
    let parts: Vec<_> = cookie.split('.').rev().take(2).collect();
    parts.iter().enumerate().for_each(|(n, part)| secrets.add(&format!("part {n} of the cookie, from the end"), *part));
    let json = format!("{bearer}Content-Type: application/json\r\n");
    let message = r#"{"messages": [{"role": "user", "content": "Hi"}]}"#;
    assert!(ask(address, "POST /v1/sessions/s/messages", &json, message).contains(" 201 "));
    ask(address, "POST /v1/sessions/s/messages", &json, "{");
    for path in ["/v1/sessions", "/v1/sessions/s/messages", "/v1/sessions/s/messages?after=x", "/metrics", "/nothing"] {
        ask(address, &format!("GET {path}"), &bearer, "");
        ask(address, &format!("GET {path}"), &bearer.replace(key, &format!("{key}x")), "");
    }
    for path in ["/console", "/console/sessions/s", "/console/nothing"] {
        ask(address, &format!("GET {path}"), &format!("Cookie: {cookie}\r\n"), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_contain_no_key_or_cookie() {
    let traced = Traced::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.toml");
    let (_, key) = create(&path, "all", None, &[Right::Read, Right::Write, Right::Metrics]).expect("a key");
    let mut secrets = Secrets::new();
    secrets.add("the key's secret", key.splitn(3, '_').last().expect("its last part"));
    let keys = Keys::open(&path).expect("the keys");
    let service = Service::new("memory:".parse().expect("a URL"), Some(keys), Options::default()).expect("a service");
    let ((listens, address), (stop, stopped)) = (oneshot::channel(), oneshot::channel::<()>());
    let listening = Listening::new((Ipv4Addr::LOCALHOST, 0).into());
    let told = |address, _| listens.send(address).expect("the requests wait for it");
    let serving = serve(service, listening, told, async {
        // Dropping the sender stops it as well.
        let _ = stopped.await;
    });
    let asking = async {
        let address = address.await.expect("it listens");
        let asked = tokio::task::spawn_blocking(move || {
            ask_all(address, &key, &mut secrets);
            secrets
        });
        let secrets = asked.await.expect("the requests");
        drop(stop);
        secrets
    };
    let (served, secrets) = tokio::join!(serving, asking);
    served.expect("a good end");
    let traces = traced.text();
    // Each request has a span, whose beginning and end are logged.
    assert!(traces.contains("answered") && traces.contains("close"), "the traces were heard: {traces}");
    secrets.assert_hidden("what is logged at level trace", &traces);
}

#[test]
fn printed_values_contain_no_key_or_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.toml");
    let (key, text) = create(&path, "all", None, &[Right::Read]).expect("a key");
    let mut secrets = Secrets::new();
    secrets.add("the key's secret", text.splitn(3, '_').last().expect("its last part"));
    let file = std::fs::read_to_string(&path).expect("the file of keys");
    // The signing secret of cursors derives from the hashes.
    let hashes: Vec<_> = file.split('"').filter(|part| part.len() == 64).collect();
    assert_eq!(hashes.len(), 2, "{file}");
    hashes.iter().enumerate().for_each(|(n, hash)| secrets.add(&format!("hash {n}"), *hash));
    secrets.assert_hidden("a key", format!("{key:?} {key:#?}"));
    let settings = Settings { keys_text: Some(file.as_str().into()), ..Settings::default() };
    secrets.assert_hidden("the settings", format!("{settings:?} {settings:#?}"));
    let keys = Keys::open(&path).expect("the keys");
    let service = Service::new("memory:".parse().expect("a URL"), Some(keys), Options::default()).expect("a service");
    secrets.assert_hidden("the service", format!("{service:?} {service:#?}"));
    for damaged in
        [file.replace("rights", "wrongs"), file.replace("version = ", "version = 9"), file[..file.len() - 20].to_owned()]
    {
        let error = Keys::of_text(&damaged, "keys-text").err().map(|error| format!("{error} {error:?}"));
        secrets.assert_hidden("what is said of damaged keys", error.expect("an error"));
    }
}
