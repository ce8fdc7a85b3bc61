//! No command and no service reveals a credential, whatever goes wrong, at the most verbose log level.

use std::io::{Read as _, Write as _};

use crate::common::Place;
use crate::common::http::{Server, response};
use crate::common::service::{Client, Service};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Secrets, dynamodb_endpoint, table_name};

/// A place whose store is this table, with credentials in the environment and others in a profile.
fn place(secrets: &mut Secrets, table: &str, endpoint: &str, more: &str) -> Place {
    let place = Place::at(format!("dynamodb://{table}?endpoint={endpoint}{more}"));
    std::fs::create_dir(place.path().join(".aws")).expect("a folder");
    let (secret, token) = (secrets.make("the profile's secret"), secrets.make("the profile's token"));
    let profile =
        format!("[work]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = {secret}\naws_session_token = {token}\n");
    std::fs::write(place.path().join(".aws/credentials"), profile).expect("a file");
    place
        .with("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT")
        .with("AWS_SECRET_ACCESS_KEY", secrets.make("the secret access key"))
        .with("AWS_SESSION_TOKEN", secrets.make("the session token"))
        .with("AWS_REGION", "us-east-1")
        .with("AWS_EC2_METADATA_DISABLED", "true")
        .with("OPENAI_API_KEY", secrets.make("the model's key"))
        .with("RUST_LOG", "trace")
        .with("RUST_BACKTRACE", "full")
}

/// Every command that uses a store.
const COMMANDS: &[&[&str]] = &[
    &["table", "create"],
    &["table", "check"],
    &["append", "s", "Hi"],
    &["append", "s", "Hi", "--cost"],
    &["show", "s"],
    &["sessions", "--all"],
    &["export"],
    &["import", "lines.jsonl"],
    &["migrate", "--to", "memory:"],
    &["rewind", "s", "--turns", "1", "--yes"],
    &["clear", "s", "--yes"],
    &["delete", "s", "--yes"],
    &["table", "sweep"],
    &["iam-policy"],
    &["doctor"],
    &["completions", "bash"],
    &["serve", "--print-config"],
    &["no-such-command"],
];

fn run_all(secrets: &Secrets, place: &Place) {
    place.file("lines.jsonl", r#"{"id": "s", "messages": [{"role": "user", "content": "Hi"}]}"#);
    for command in COMMANDS {
        for json in [&[][..], &["--json"]] {
            let arguments = [*command, json].concat();
            let ran = place.run(&arguments);
            assert!(!ran.err.contains("panicked"), "{arguments:?}: {}", ran.err);
            secrets.assert_hidden(&format!("{arguments:?}"), format!("{}\n{}", ran.out, ran.err));
        }
    }
}

#[test]
fn commands_show_no_credentials() {
    let mut secrets = Secrets::new();
    let table = table_name("cli-secrets");
    let local = place(&mut secrets, &table, &dynamodb_endpoint(), "");
    run_all(&secrets, &local);
    local.run(&["append", "s", "It works"]).done();
    secrets = Secrets::new();
    let profile = place(&mut secrets, &table, &dynamodb_endpoint(), "&profile=work");
    run_all(&secrets, &profile);
    profile.run(&["append", "s", "It works"]).done();
}

#[test]
fn failing_commands_show_no_credentials() {
    let refused = |answer: fn() -> Answer| FaultProxy::start(&dynamodb_endpoint(), move |_: &_| Fault::Answer(answer()));
    let refusals = [Answer::expired_token, Answer::unrecognized_client, Answer::invalid_signature, Answer::internal_server_error];
    let proxies = refusals.map(refused);
    let mut cases: Vec<_> = proxies.iter().map(|proxy| (proxy.url(), "")).collect();
    // No listener; a server without TLS; another region; a missing profile.
    cases.push(("http://127.0.0.1:1".to_owned(), ""));
    cases.push((dynamodb_endpoint().replace("http:", "https:"), ""));
    cases.push((dynamodb_endpoint(), "&region=eu-north-1"));
    cases.push((dynamodb_endpoint(), "&profile=missing"));
    std::thread::scope(|scope| {
        for (endpoint, more) in &cases {
            scope.spawn(move || {
                let mut secrets = Secrets::new();
                let place = place(&mut secrets, "chats", endpoint, &format!("&deadline=600ms&request_timeout=300ms{more}"));
                run_all(&secrets, &place);
            });
        }
    });
}

#[test]
fn refused_model_key_is_not_printed() {
    let mut secrets = Secrets::new();
    let key = secrets.make("the model's key");
    // Some endpoints repeat what they were sent.
    let server = Server::start(|request| {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        response(
            "401 Unauthorized",
            "application/json",
            &serde_json::json!({"error": {"message": format!("wrong: {sent}")}}).to_string(),
        )
    });
    let place = Place::sqlite().with("OPENAI_API_KEY", &key).with("RUST_LOG", "trace");
    for url in [format!("{}/v1", server.url()), "http://127.0.0.1:1/v1".to_owned(), "https://127.0.0.1:1/v1".to_owned()] {
        for json in [&[][..], &["--json"]] {
            let arguments = [&["chat", "s", "--base-url", &url, "--model", "m"][..], json].concat();
            let ran = place.run_with(&arguments, "Hi\n");
            secrets.assert_hidden(&format!("{arguments:?}"), format!("{}\n{}", ran.out, ran.err));
        }
    }
    assert!(!server.requests().is_empty(), "the key was sent to where it belongs");
}

/// A response's text, without the cookie that it sets: that one is for its receiver.
fn said(answer: &crate::common::service::Answer) -> String {
    let headers = answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie"));
    format!("{:?}\n{}", headers.collect::<Vec<_>>(), answer.body)
}

/// Logs in to the console; returns the response without its cookie, and the cookie. The client would follow the redirect.
fn log_in(url: &str, key: &str) -> (String, String) {
    let address = url.rsplit('/').next().expect("a URL");
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let form = format!("key={key}");
    let head =
        "POST /console/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (sets, rest): (Vec<_>, Vec<_>) = answer.lines().partition(|line| line.starts_with("set-cookie: "));
    let cookie = sets.first().and_then(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
    (rest.join("\n"), cookie.unwrap_or_else(|| panic!("no cookie: {answer}")).to_owned())
}

/// Sends all kinds of requests, with a key and with a login's cookie; returns the responses.
fn ask_all(secrets: &mut Secrets, client: &Client, key: &str) -> String {
    let keyed = client.with_key(key);
    let (login, cookie) = log_in(&client.url, key);
    for part in cookie.split(['=', '.']).filter(|part| part.len() >= 40) {
        secrets.add(&format!("a part of the cookie, {}…", &part[..4]), part);
    }
    let mut all = login;
    for path in [
        "/v1/sessions",
        "/v1/sessions/s/messages",
        "/v1/sessions/s/messages?after=x",
        "/metrics",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/nothing",
    ] {
        all += &said(&keyed.get(path));
        all += &said(&client.get(path));
        all += &said(&client.with_key(&format!("{key}x")).get(path));
    }
    all += &said(&keyed.say("s", "Hi"));
    all += &said(&keyed.ask("POST", "/v1/sessions/s/messages", &[], "{"));
    all += &said(&client.get(&format!("/v1/sessions?key={key}")));
    for path in ["/console", "/console/sessions/s", "/console/nothing"] {
        all += &said(&client.ask("GET", path, &[("Cookie", &cookie)], ""));
        all += &said(&client.ask("GET", path, &[("Cookie", &format!("{cookie}x"))], ""));
    }
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    all += &said(&client.ask("POST", "/console/sessions/s/clear", &[("Cookie", &cookie), form], "token=wrong"));
    all += &said(&client.ask("POST", "/console/logout", &[("Cookie", &cookie), form], ""));
    all
}

#[test]
fn service_reveals_no_key_cookie_or_credential() {
    let table = table_name("cli-secrets-serve");
    for format in ["text", "json"] {
        let mut secrets = Secrets::new();
        let place = place(&mut secrets, &table, &dynamodb_endpoint(), "");
        place.run(&["table", "create"]).done();
        let new =
            ["key", "new", "--keys", "keys.toml", "--name", "all", "--right", "read", "--right", "write", "--right", "metrics"];
        let key = place.run(&new).done().trim().to_owned();
        secrets.add("the API key's secret", key.splitn(3, '_').last().expect("its last part"));
        let listed = place.run(&["key", "list", "--keys", "keys.toml"]);
        secrets.assert_hidden("key list", format!("{}{}", listed.out, listed.err));
        let service = Service::start(&place, &["--keys", "keys.toml", "--log", "debug", "--log-format", format]);
        let (greeting, client) = (service.greeting.join("\n"), service.client());
        let answered = ask_all(&mut secrets, &client, &key);
        secrets.assert_hidden("what the service answers", answered);
        let (_, log) = service.stop();
        assert!(log.contains("answered"), "{log}");
        secrets.assert_hidden("what the service says", format!("{greeting}\n{log}"));
    }
}

#[test]
fn service_does_not_reveal_refused_credentials() {
    let mut secrets = Secrets::new();
    let table = table_name("cli-secrets-refused");
    place(&mut secrets, &table, &dynamodb_endpoint(), "").run(&["table", "create"]).done();
    let refuses = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let decide = std::sync::Arc::clone(&refuses);
    let proxy = FaultProxy::start(&dynamodb_endpoint(), move |_: &_| {
        if decide.load(std::sync::atomic::Ordering::Relaxed) { Fault::Answer(Answer::expired_token()) } else { Fault::Pass }
    });
    let place = place(&mut secrets, &table, &proxy.url(), "");
    let key = place.run(&["key", "new", "--keys", "keys.toml", "--name", "all"]).done().trim().to_owned();
    secrets.add("the API key's secret", key.splitn(3, '_').last().expect("its last part"));
    let service = Service::start(&place, &["--keys", "keys.toml", "--log", "debug"]);
    refuses.store(true, std::sync::atomic::Ordering::Relaxed);
    let answered = ask_all(&mut secrets, &service.client(), &key);
    assert!(answered.contains("problem+json"), "{answered}");
    secrets.assert_hidden("what the service answers", answered);
    let (_, log) = service.stop();
    assert!(log.contains("expired"), "it says why: {log}");
    secrets.assert_hidden("what the service logs", log);
}

#[test]
fn certificate_key_is_never_printed() {
    let mut secrets = Secrets::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let pem = made.signing_key.serialize_pem();
    for (n, line) in pem.lines().filter(|line| line.len() >= 40).enumerate() {
        secrets.add(&format!("line {n} of the key"), line);
    }
    let place = Place::sqlite().with("RUST_LOG", "trace");
    place.file("cert.pem", made.cert.pem());
    place.file("key.pem", &pem);
    let service = Service::start(&place, &["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--log", "debug"]);
    let greeting = service.greeting.join("\n");
    let (_, log) = service.stop();
    secrets.assert_hidden("what the service says", format!("{greeting}\n{log}"));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    for (name, key) in [
        ("of another certificate", other.signing_key.serialize_pem()),
        ("cut", pem[..pem.len() / 2].to_owned()),
        ("with a letter that is none", pem.replacen("\nM", "\n!M", 1)),
        ("of another kind", pem.replace("PRIVATE KEY", "SECRET")),
    ] {
        for (n, line) in key.lines().filter(|line| line.len() >= 40 && !line.starts_with("---")).enumerate() {
            secrets.add(&format!("line {n} of the key {name}"), line);
        }
        place.file("key.pem", &key);
        let ran =
            place.run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--log", "debug"]);
        ran.fails(1, &["key.pem"]);
        secrets.assert_hidden(&format!("serve with a key {name}"), format!("{}\n{}", ran.out, ran.err));
    }
}
