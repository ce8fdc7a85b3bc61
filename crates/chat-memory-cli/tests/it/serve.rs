//! `serve` and `key` as processes: what they print, what they refuse, how they exit, and what hostile clients can do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::Place;
use crate::common::service::{Client, Service, body_of};
use chat_memory_testkit::{Fault, FaultProxy, Gate, Request, credentials_env, dynamodb_endpoint, table_name};

/// What arrives on a connection until its end, or until `seconds` pass without a byte.
fn rest(stream: &mut TcpStream, seconds: u64) -> Result<String, String> {
    stream.set_read_timeout(Some(Duration::from_secs(seconds))).expect("a timeout");
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => Ok(String::from_utf8_lossy(&all).into_owned()),
        // Closed with bytes of ours unread.
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Ok(String::from_utf8_lossy(&all).into_owned()),
        Err(e) => Err(format!("{e}, after {:?}", String::from_utf8_lossy(&all))),
    }
}

#[test]
fn service_prints_its_store_and_shares_the_file_with_commands() {
    let place = Place::sqlite();
    place.run(&["append", "trip", "Hello"]).done();
    let service = Service::start(&place, &[]);
    assert!(service.greeting.iter().any(|line| line.contains(&place.store)), "{:?}", service.greeting);
    let client = service.client();
    assert_eq!(client.texts("trip"), ["Hello"]);
    assert_eq!(client.say("trip", "from HTTP").status, 201);
    assert_eq!(place.messages("trip").len(), 2, "the program reads it while the service runs");
    place.run(&["append", "trip", "from the program"]).done();
    assert_eq!(client.texts("trip"), ["Hello", "from HTTP", "from the program"]);
    let (status, log) = service.stop();
    assert!(status.success() && log.contains("stopped"), "{log}");
    assert!(!log.contains("from HTTP") && !log.contains("trip"), "the log has no texts and no paths: {log}");
}

#[test]
fn demo_has_sample_sessions_and_leaves_no_files() {
    let mut place = Place::sqlite();
    place.store = String::new();
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a folder");
    let place = place.with("TMPDIR", temporary.display().to_string());
    let service = Service::start(&place, &["--demo"]);
    let client = service.client();
    let sessions = client.get("/v1/sessions?owner=ada").json();
    assert!(sessions["sessions"].as_array().is_some_and(|sessions| sessions.len() >= 2), "{sessions}");
    let trip = client.get("/v1/sessions/trip-lisbon/messages").json();
    let called = |message: &serde_json::Value| message["tool_calls"].is_array();
    assert!(trip["messages"].as_array().is_some_and(|messages| messages.iter().any(called)), "{trip}");
    service.stop();
    assert_eq!(std::fs::read_dir(&temporary).expect("the folder").count(), 0);
    place.run(&["--store", "memory:", "serve", "--demo"]).fails(2, &["--demo"]);
}

#[test]
fn clients_that_send_their_whole_body_first_learn_why_it_is_refused() {
    let place = Place::sqlite();
    let keys = place.path().join("keys.toml").display().to_string();
    let key = place.run(&["key", "new", "--name", "app", "--right", "write", "--keys", &keys]).done();
    let service = Service::start(&place, &["--keys", &keys, "--max-body", "1MB"]);
    for (key, status) in [("none", "401"), (key.trim(), "413")] {
        let mut stream = service.connect();
        let body = vec![b' '; 8_000_000];
        let head = format!(
            "POST /v1/sessions/s/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).expect("the whole body is taken");
        let answer = rest(&mut stream, 60).expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[test]
fn settings_come_from_flags_then_the_environment_then_a_file() {
    let place = Place::sqlite().with("CHAT_MEMORY_DRAIN", "7s").with("CHAT_MEMORY_MAX_BODY", "2MB");
    let file = place.file("serve.toml", "drain = \"8s\"\npoll = \"9s\"\nmax-body = \"3MB\"\nlisten = \"127.0.0.1:0\"\n");
    let shown = place.run(&["serve", "--config", &file, "--max-body", "1MB", "--print-config"]).done();
    for line in [
        "max-body = \"1MB\"",
        "drain = \"7s\"",
        "poll = \"9s\"",
        "listen = \"127.0.0.1:0\"",
        "request-timeout = \"1m\"",
        "store = \"sqlite:",
    ] {
        assert!(shown.contains(line), "{line} is not in:\n{shown}");
    }
    let again = place.file("again.toml", &shown);
    let printed = place.run(&["serve", "--config", &again, "--max-body", "1MB", "--print-config"]).done();
    assert_eq!(printed, shown, "what is printed is a file that says the same");
}

#[test]
fn invalid_settings_are_refused_before_listening() {
    let place = Place::sqlite();
    place.run(&["serve", "--listen", "0.0.0.0:0"]).fails(2, &["loopback only", "chat-memory key new"]);
    place.run(&["serve", "--listen", "nowhere"]).fails(2, &["nowhere", "127.0.0.1:8080"]);
    place.run(&["serve", "--keys", "missing.toml"]).fails(1, &["missing.toml", "chat-memory key new"]);
    place.run(&["serve", "--tls-cert", "cert.pem"]).fails(2, &["tls-key"]);
    place.run(&["serve", "--drain", "soon"]).fails(2, &["soon", "30s"]);
    place.run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", "c.pem", "--tls-key", "k.pem"]).fails(1, &["c.pem"]);
    let config = place.file("bad.toml", "\nlisten = \"127.0.0.1:0\"\nport = 1\n");
    place.run(&["serve", "--config", &config]).fails(1, &["bad.toml", "line 3", "port"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("its address").to_string();
    place.run(&["serve", "--listen", &at]).fails(1, &[&at, "another program"]);
    let nowhere = Place::at("sqlite:/dev/null/chats.db");
    nowhere.run(&["serve", "--listen", "127.0.0.1:0"]).fails(1, &["/dev/null/chats.db"]);
    let mut missing = Place::at(format!("dynamodb://{}?endpoint={}", table_name("nowhere"), dynamodb_endpoint()));
    for (name, value) in credentials_env() {
        missing = missing.with(name, value);
    }
    missing.run(&["serve", "--listen", "127.0.0.1:0"]).fails(1, &["table create"]);
}

#[test]
fn settings_that_would_leave_the_service_useless_are_refused() {
    let place = Place::sqlite();
    for (name, value, says) in [
        ("max-body", "0", "more than zero"),
        ("max-path", "0", "more than zero"),
        ("body-memory", "0MB", "more than zero"),
        ("request-timeout", "0s", "more than zero"),
        ("header-timeout", "0s", "more than zero"),
        ("poll", "0s", "more than zero"),
        ("max-connections", "0", "1 or more"),
        ("cors-origin", "foo", "https://app.example.com"),
        ("cors-origin", "https://app.example.com/", "https://app.example.com"),
        ("host", "memory.example.com:8080", "memory.example.com"),
    ] {
        let flag = format!("--{name}");
        place.run(&["serve", &flag, value, "--print-config"]).fails(2, &[&flag, says]);
        let variable = format!("CHAT_MEMORY_{}", name.replace('-', "_").to_uppercase());
        let by_variable = Place::sqlite().with(&variable, value).run(&["serve", "--print-config"]);
        by_variable.fails(2, &[&variable, says]);
        assert!(!by_variable.err.contains(&format!("'{flag}")), "{}", by_variable.err);
        let value = match name {
            "max-connections" => value.to_owned(),
            "cors-origin" | "host" => format!("[{value:?}]"),
            _ => format!("{value:?}"),
        };
        let config = place.file("useless.toml", format!("log = \"info\"\n{name} = {value}\n"));
        place.run(&["serve", "--config", &config]).fails(1, &["useless.toml: line 2: ", name, says]);
    }
}

#[test]
fn empty_environment_variable_counts_as_unset() {
    let expected = Place::sqlite().run(&["serve", "--print-config"]).done().replace("chats.db", "");
    let mut place = Place::sqlite();
    for name in ["MAX_BODY", "POLL", "KEYS", "CONFIG", "LISTEN", "CORS_ORIGIN", "TRUSTED_PROXY", "LOG", "CONSOLE", "TLS_CERT"] {
        place = place.with(&format!("CHAT_MEMORY_{name}"), "");
    }
    let printed = place.run(&["serve", "--print-config"]).done();
    let without_store = |text: &str| text.lines().filter(|line| !line.starts_with("store")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_store(&printed), without_store(&expected));
    place.run(&["key", "list"]).fails(2, &["--keys"]);
}

#[test]
fn files_that_cannot_be_read_are_named_with_a_cause_and_a_remedy() {
    let place = Place::sqlite();
    place.run(&["key", "new", "--keys", "none/k.toml", "--name", "a"]).fails(1, &["there is no folder none; create it"]);
    let broken = place.file("broken.toml", "version = 1\n[[key]]\nid = 3\n");
    for command in [
        &["key", "new", "--keys", &broken, "--name", "a"][..],
        &["key", "list", "--keys", &broken],
        &["key", "revoke", "--keys", &broken, "a"],
        &["serve", "--keys", &broken, "--listen", "127.0.0.1:0"],
    ] {
        place.run(command).fails(1, &["broken.toml cannot be read: line 3", "; correct the line"]);
    }
    place.run(&["serve", "--config", "none.toml"]).fails(1, &["none.toml: No such file", "; give the path"]);
    let made = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "c.pem", "--tls-key", "k.pem"];
    place.run(&made).fails(1, &["cannot read the file c.pem of tls-cert: No such file", "; check its name"]);
    place.file("c.pem", "no certificate");
    place.run(&made).fails(1, &["cannot read the file k.pem of tls-key: No such file"]);
    place.file("k.pem", "no key");
    place.run(&made).fails(1, &["c.pem contains no usable certificate"]);
}

#[test]
fn demo_is_refused_where_its_settings_are_to_be_printed() {
    let place = Place::sqlite();
    place.run(&["serve", "--demo", "--print-config"]).fails(2, &["--demo", "--print-config"]);
}

#[test]
fn keys_can_be_created_listed_and_revoked_at_runtime() {
    let place = Place::sqlite().with("CHAT_MEMORY_KEYS", "keys.toml");
    let reader = place.run(&["key", "new", "--name", "reader", "--right", "read"]).done();
    let writer = place.run(&["key", "new", "--name", "writer", "--json"]).json();
    let (reader, writer) = (reader.trim(), writer["key"].as_str().expect("a key"));
    let listed = place.run(&["key", "list"]).done();
    assert!(listed.contains("reader") && listed.contains("read,write") && !listed.contains(writer), "{listed}");
    let twice = place.run(&["key", "new", "--name", "twice", "--right", "read", "--right", "read", "--json"]).json();
    assert_eq!(twice["rights"], serde_json::json!(["read"]), "a right given twice counts once");
    place.run(&["key", "revoke", "--keys", "keys.toml", "none"]).fails(1, &["`chat-memory key list --keys keys.toml`"]);
    let service = Service::start(&place, &["--log", "debug"]);
    let client = service.client();
    let refused = client.get("/v1/sessions");
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    assert_eq!(client.with_key("cm_0_wrong").get("/v1/sessions").status, 401);
    assert_eq!(client.with_key(writer).say("s", "hello").status, 201);
    assert_eq!(client.with_key(reader).say("s", "no").status, 403);
    assert_eq!(client.with_key(reader).texts("s"), ["hello"]);
    let revoked = place.run(&["key", "revoke", "writer"]);
    assert!(revoked.err.contains("revoked"), "{revoked:?}");
    place.run(&["key", "revoke", "writer"]).fails(1, &["writer"]);
    let until = Instant::now() + Duration::from_secs(30);
    while client.with_key(writer).get("/v1/sessions").status != 401 {
        assert!(Instant::now() < until, "a revoked key is still good");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.with_key(reader).get("/v1/sessions").status, 200);
    let (_, log) = service.stop();
    for secret in [reader, writer, "hello"] {
        assert!(!log.contains(secret), "a secret in the log: {log}");
    }
    place.run(&["key", "new", "--name", "x", "--namespace", "../up"]).fails(2, &["a-z"]);
}

/// A place whose store is this table at this endpoint.
fn at(endpoint: &str, table: &str) -> Place {
    let place = Place::at(format!("dynamodb://{table}?endpoint={endpoint}"));
    credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value))
}

#[test]
fn stop_completes_accepted_requests_of_disconnected_clients() {
    let table = table_name("serve-stop");
    at(&dynamodb_endpoint(), &table).run(&["table", "create"]).done();
    let gate = Gate::new();
    let held = gate.clone();
    let is_held = |request: &Request| {
        let writes = ["PutItem", "TransactWriteItems"].contains(&request.operation.as_str());
        writes && request.body.to_string().contains("held back")
    };
    let proxy = FaultProxy::start(
        &dynamodb_endpoint(),
        move |request: &Request| {
            if is_held(request) { Fault::Hold(held.clone()) } else { Fault::Pass }
        },
    );
    let service = Service::start(&at(&proxy.url(), &table), &["--shutdown-delay", "1s"]);
    let client = service.client();
    assert_eq!(client.get("/readyz").status, 200);
    let mut events = service.connect();
    write!(events, "GET /v1/sessions/s/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut first = [0; 12];
    events.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");

    let waits = client.clone();
    let waiting = std::thread::spawn(move || waits.say("s", "held back").status);
    let mut gone = service.connect();
    let body = body_of("held back too");
    write!(
        gone,
        "POST /v1/sessions/t/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    while proxy.requests().iter().filter(|recorded| is_held(&recorded.request)).count() < 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(gone);
    service.signal("TERM");
    while client.get("/readyz").status == 200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let stream = rest(&mut events, 30).expect("the stream ends");
    assert!(stream.ends_with("0\r\n\r\n"), "the stream of events ends well: {stream}");
    gate.open();
    assert_eq!(waiting.join().expect("no panic"), 201);
    let (status, log) = service.ended();
    assert!(status.success(), "{log}");
    let place = at(&dynamodb_endpoint(), &table);
    assert_eq!((place.messages("s").len(), place.messages("t").len()), (1, 1), "both were accepted, so both are stored");
}

#[test]
fn slow_and_oversized_clients_do_not_block_others() {
    let service = Service::start(
        &Place::sqlite(),
        &["--header-timeout", "1s", "--request-timeout", "2s", "--max-body", "100KB", "--max-connections", "8"],
    );
    // A header that never ends, and one that never begins.
    let mut dripping = service.connect();
    write!(dripping, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").expect("sent");
    let mut silent = service.connect();
    // A body that never arrives.
    let mut promising = service.connect();
    write!(
        promising,
        "POST /v1/sessions/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{{"
    )
    .expect("sent");
    // A body of 100 MB, announced; and one that is sent in chunks of unannounced length.
    let mut huge = service.connect();
    write!(huge, "POST /v1/sessions/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n")
        .expect("sent");
    let mut line = String::new();
    BufReader::new(&huge).read_line(&mut line).expect("an answer before the body");
    assert!(line.starts_with("HTTP/1.1 413"), "{line}");
    let mut chunked = service.connect();
    write!(chunked, "POST /v1/sessions/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("sent");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    // It is refused on the way, so the rest may find no reader.
    for _ in 0..1_600 {
        if chunked.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let answer = rest(&mut chunked, 30).expect("an answer");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    // A header of a megabyte.
    let mut headers = service.connect();
    let sent = write!(headers, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(1_000_000));
    let answer = rest(&mut headers, 30).expect("an answer");
    assert!(sent.is_err() || answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");

    assert!(rest(&mut dripping, 30).is_ok_and(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 408")));
    assert!(rest(&mut silent, 30).is_ok_and(|answer| answer.is_empty()));
    let late = rest(&mut promising, 30).expect("an answer");
    assert!(late.starts_with("HTTP/1.1 503") || late.starts_with("HTTP/1.1 408"), "{late}");

    // More connections than allowed.
    drop((dripping, silent, promising, huge, chunked, headers));
    // While the service is still closing the earlier connections, not all are accepted, and one more finds a place.
    let full = (0..10).find_map(|_| {
        let _crowd: Vec<_> = (0..8).map(|_| service.connect()).collect();
        std::thread::sleep(Duration::from_millis(200));
        let answer = rest(&mut service.connect(), 30).expect("an answer");
        (!answer.is_empty()).then_some(answer)
    });
    let full = full.expect("more connections than may be are taken");
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("Retry-After"), "{full}");
    let until = Instant::now() + Duration::from_secs(30);
    while service.client().try_ask("GET", "/healthz", &[], "").map(|answer| answer.status) != Ok(200) {
        assert!(Instant::now() < until, "the service does not recover");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(service.client().texts("s"), [""; 0], "nothing was half written");
}

#[test]
fn path_traversal_is_refused() {
    let place = Place::sqlite().with("CHAT_MEMORY_KEYS", "keys.toml");
    let key =
        |namespace: &str| place.run(&["key", "new", "--name", namespace, "--namespace", namespace]).done().trim().to_owned();
    let (acme, other) = (key("acme"), key("other"));
    let service = Service::start(&place, &[]);
    let (acme, other) = (service.client().with_key(&acme), service.client().with_key(&other));
    assert_eq!(acme.say("plans", "of acme").status, 201);
    for path in [
        "/v1/sessions/../sessions/plans/messages",
        "/v1/sessions/..%2F..%2Facme%2Fplans/messages",
        "/v1/sessions/%2e%2e/messages",
        "/v1/sessions/plans%00/messages",
        "/v1/sessions/ns%23acme%23plans/messages",
        "/v1/sessions/plans/messages",
        "/../../../../etc/passwd",
        "/console/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/docs/..%2f..%2fetc%2fpasswd",
    ] {
        let mut raw = service.connect();
        let key = other.key.as_deref().expect("a key");
        write!(raw, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let answer = rest(&mut raw, 30).expect("an answer");
        assert!(
            !answer.contains("of acme") && !answer.contains("root:") && !answer.starts_with("HTTP/1.1 5"),
            "{path}: {answer}"
        );
    }
    assert_eq!(acme.texts("plans"), ["of acme"]);
    let files: Vec<_> = std::fs::read_dir(place.path()).expect("the folder").flatten().map(|file| file.file_name()).collect();
    assert!(files.iter().any(|name| name == "chats.acme.db") && files.iter().any(|name| name == "chats.other.db"), "{files:?}");
}

#[test]
fn service_speaks_tls_with_a_certificate() {
    let place = Place::sqlite();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (place.file("cert.pem", made.cert.pem()), place.file("key.pem", made.signing_key.serialize_pem()));
    let service = Service::start(&place, &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(service.url.starts_with("https://"), "{}", service.url);
    let root = ureq::tls::Certificate::from_der(made.cert.der());
    let roots = ureq::tls::RootCerts::from(vec![root.to_owned()]);
    let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).build().into();
    let url = service.url.replace("127.0.0.1", "localhost");
    let said = agent.get(format!("{url}/healthz")).call().expect("trusted").body_mut().read_to_string().expect("a text");
    assert_eq!(said, "ok\n");
    assert!(Client::new(&url).try_ask("GET", "/healthz", &[], "").is_err(), "nobody else trusts it");
    assert!(service.stop().0.success());
}

#[test]
fn metrics_have_their_own_listener() {
    let place = Place::sqlite();
    let service = Service::start(&place, &["--metrics-listen", "127.0.0.1:0"]);
    let metrics = service.greeting.iter().find_map(|line| line.split_once("http://").filter(|_| line.contains("metrics")));
    let metrics = metrics.and_then(|(_, rest)| rest.strip_suffix("/metrics")).expect("where the metrics are");
    let client = service.client();
    client.say("a-private-name", "hello");
    client.texts("a-private-name");
    assert_eq!(client.get("/metrics").status, 404);
    let own = Client::new(&format!("http://{metrics}"));
    let text = own.get("/metrics").body;
    for line in [
        r#"chat_memory_http_requests_total{method="POST",route="/v1/sessions/{session}/messages",status="201"} 1"#,
        r#"chat_memory_store_operations_total{operation="Append",outcome="ok"} 1"#,
        "chat_memory_store_write_units_total",
        "chat_memory_http_request_seconds_bucket",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("a-private-name"), "{text}");
    assert_eq!((own.get("/healthz").status, own.get("/readyz").status, own.get("/v1/sessions").status), (200, 200, 404));
}
