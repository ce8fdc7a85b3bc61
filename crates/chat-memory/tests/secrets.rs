//! AWS credentials never appear: not in the library's output, not in its errors, and not in what it and everything below it logs
//! at level `trace`, however the credentials were provided and whatever fails.
#![cfg(feature = "dynamodb")]

#[path = "it/dynamodb/mod.rs"]
mod dynamodb;

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use chat_memory::store::dynamodb::admin::Admin;
use chat_memory::store::dynamodb::{Credentials, DynamoDbStore, Options};
use chat_memory::store::url::StoreUrl;
use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Message, SessionId};
use chat_memory_testkit::{Answer, Fault, FaultProxy, Secrets, Traced, children, dynamodb_endpoint};

const URL: &str = "CHAT_MEMORY_TEST_URL";

/// All output of the library.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn shown(&mut self, what: &(impl Debug + ?Sized)) {
        self.0 += &format!("{what:?}\n{what:#?}\n");
    }

    fn outcome<T: Debug, E: std::error::Error>(&mut self, outcome: Result<T, E>) {
        match outcome {
            Ok(value) => self.shown(&value),
            Err(error) => {
                self.shown(&error);
                self.0 += &format!("{error}\n{error:#}\n");
                let mut source = error.source();
                while let Some(error) = source {
                    self.0 += &format!("{error}\n{error:?}\n");
                    source = error.source();
                }
            }
        }
    }

    /// Runs every kind of operation that sends requests to a table.
    async fn everything(&mut self, options: Options) {
        self.shown(&options);
        let session = SessionId::new("a session").expect("a good id");
        let admin = Admin::open(&options).await;
        if let Ok(admin) = &admin {
            self.shown(admin);
            self.outcome(admin.create_table().await);
            self.outcome(admin.describe().await);
            self.shown(&admin.check().await);
        }
        let store = match DynamoDbStore::open(options).await {
            Ok(store) => store,
            Err(error) => return self.outcome(Err::<(), _>(error)),
        };
        self.shown(&store);
        let message = || Append::new([Message::user("Hi")]);
        self.outcome(store.append(&session, &message()).await);
        self.outcome(store.append(&session, &message().with_key("a key")).await);
        self.outcome(store.load(&session, &Load::all()).await);
        self.outcome(store.layout().await);
        self.outcome(store.clear(&session).await);
        self.shown(&store);
    }
}

/// Options with short timeouts.
fn options(table: &str, endpoint: &str) -> Options {
    let mut options = dynamodb::options(table, endpoint);
    (options.request_timeout, options.deadline) = (Duration::from_millis(400), Duration::from_millis(800));
    options
}

/// What the traces must contain at least; otherwise they were not captured and prove nothing.
#[track_caller]
fn assert_heard(traces: &str) {
    for crate_ in ["aws_smithy_runtime", "aws_sigv4", "aws_smithy_http_client", "hyper_util"] {
        assert!(traces.contains(crate_), "nothing of {crate_} at level trace: {} bytes", traces.len());
    }
}

#[tokio::test]
async fn explicit_credentials_are_never_shown() {
    let traced = Traced::start();
    let mut secrets = Secrets::new();
    let credentials = Credentials::new("AKIDGIVEN", secrets.make("the secret access key"));
    let credentials = credentials.with_session_token(secrets.make("the session token"));
    let table = dynamodb::new_table().await;
    let mut said = Printed::default();
    said.shown(&credentials);
    let answers = [
        Answer::expired_token,
        Answer::unrecognized_client,
        Answer::invalid_signature,
        Answer::skewed_clock,
        Answer::internal_server_error,
        Answer::throttling,
        Answer::broken_gateway,
    ];
    let mut faults = vec![Fault::Pass, Fault::DropAnswer, Fault::ResetRequest, Fault::Truncate];
    faults.extend(answers.map(|answer| Fault::Answer(answer())));
    let proxies = faults.into_iter().map(|fault| FaultProxy::start(&dynamodb_endpoint(), move |_: &_| fault.clone()));
    let proxies: Vec<_> = proxies.collect();
    let mut endpoints: Vec<_> = proxies.iter().map(FaultProxy::url).collect();
    // Nothing listens there; no TLS there; a table in another region.
    endpoints.extend(["http://127.0.0.1:1".to_owned(), dynamodb_endpoint().replace("http:", "https:")]);
    // All at once: with retries, each operation runs until its deadline.
    let mut all = tokio::task::JoinSet::new();
    for endpoint in endpoints {
        let options = options(&table, &endpoint).with_credentials(credentials.clone());
        all.spawn(async move {
            let mut said = Printed::default();
            said.everything(options).await;
            said.0
        });
    }
    said.0 += &all.join_all().await.concat();
    let elsewhere = options(&table, &dynamodb_endpoint()).with_region("eu-north-1").with_credentials(credentials.clone());
    said.everything(elsewhere).await;
    let lacking = Credentials::new("", secrets.make("a secret without an id"));
    said.everything(options(&table, &dynamodb_endpoint()).with_credentials(lacking)).await;
    secrets.assert_hidden("the library's output", &said.0);
    let traces = traced.text();
    assert_heard(&traces);
    secrets.assert_hidden("the log at level trace", &traces);
}

#[tokio::test]
async fn url_with_a_password_is_refused_without_repeating_it() {
    let mut secrets = Secrets::new();
    let password = secrets.make("the password").replace('/', "x");
    secrets.add("the password", &password);
    let mut said = Printed::default();
    for url in [
        format!("dynamodb://user:{password}@chats?region=eu-west-1"),
        format!("dynamodb://{password}@chats?region=eu-west-1"),
        format!("dynamodb://chats?region=eu-west-1&endpoint=http://user:{password}@127.0.0.1:1"),
        format!("dynamodb://chats?region=eu-west-1&secret_access_key={password}"),
        format!("dynamodb://chats?region=eu-west-1&aws_session_token={password}"),
        format!("postgres://user:{password}@host/file"),
    ] {
        let parsed = url.parse::<StoreUrl>();
        assert!(parsed.is_err(), "{parsed:?}");
        said.outcome(parsed);
    }
    let options = options("chats", &format!("http://user:{password}@127.0.0.1:1"));
    assert!(options.check().is_err());
    said.everything(options).await;
    secrets.assert_hidden("the library's output", &said.0);
}

/// Opens the store at a URL, with the credentials that this process finds. Run by the other tests.
#[test]
#[ignore = "the other tests run it, in processes of their own"]
fn role() {
    let Some(_) = children::role() else { return println!("no role was given") };
    let traced = Traced::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut said = Printed::default();
    runtime.block_on(async {
        let url: StoreUrl = std::env::var(URL).expect("it is given with the role").parse().expect("a good URL");
        said.everything(url.dynamodb().expect("it is a DynamoDB URL")).await;
    });
    println!("{}\n{}", said.0, traced.text());
}

/// Runs that process with these variables and returns all its output.
fn printed(url: &str, folder: &Path, variables: &[(&str, String)]) -> String {
    let mut command = children::start(module_path!(), &children::this_program(), "any");
    command.env_clear().envs([("CHAT_MEMORY_TEST_ROLE", "any"), (URL, url), ("AWS_EC2_METADATA_DISABLED", "true")]);
    command.env("HOME", folder).env("AWS_REGION", "us-east-1").env("RUST_BACKTRACE", "1").env("RUST_LOG", "trace");
    for (name, value) in variables {
        if value.is_empty() {
            command.env_remove(name)
        } else {
            command.env(name, value)
        };
    }
    let output = command.stderr(std::process::Stdio::piped()).output();
    let output = output.expect("the process runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// Answers requests for credentials like AWS, by path; each response is an HTTP/1.1 body.
fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let path = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
            // Reads to the end of the head; these requests have no body that matters.
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (kind, body) = ("application/json", answer(&path));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\n");
            // The client may have disconnected.
            let _ = write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}")
}

/// Runs the process with credentials provided in this way, against DynamoDB Local and against responses that refuse them.
async fn assert_hidden(secrets: &Secrets, more: &str, folder: &Path, variables: &[(&str, String)], proof: &str) {
    let table = dynamodb::new_table().await;
    let refusing = FaultProxy::start(&dynamodb_endpoint(), |_: &_| Fault::Answer(Answer::expired_token()));
    for endpoint in [dynamodb_endpoint(), refusing.url()] {
        let url = format!("dynamodb://{table}?endpoint={endpoint}&deadline=10s{more}");
        let printed = printed(&url, folder, variables);
        // Proves that the credentials were found in this way.
        assert!(printed.contains(proof), "{proof} is not in: {printed}");
        assert_heard(&printed);
        secrets
            .assert_hidden(&format!("a process with {:?}", variables.iter().map(|(name, _)| name).collect::<Vec<_>>()), &printed);
    }
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Credentials as AWS's services return them.
fn given(secrets: &mut Secrets, id: &str) -> String {
    let (secret, token) = (secrets.make("the secret access key"), secrets.make("the session token"));
    serde_json::json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "Version": 1, "AccessKeyId": id,
        "SecretAccessKey": secret, "Token": token, "SessionToken": token, "Expiration": "2099-01-01T00:00:00Z",
    })
    .to_string()
}

#[tokio::test]
async fn environment_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secrets.make("the secret access key")),
        ("AWS_SESSION_TOKEN", secrets.make("the session token")),
    ];
    assert_hidden(&secrets, "", temporary().path(), &variables, "AKIDENVIRONMENT").await;
}

#[tokio::test]
async fn profile_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let folder = temporary();
    // Both files have the profile, and one of them has it twice: an overwritten value is a secret, too.
    let mut profile = |id: &str| {
        let (secret, token) =
            (secrets.make(&format!("the secret access key of {id}")), secrets.make(&format!("the token of {id}")));
        format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\naws_session_token = {token}\n")
    };
    let config = format!("[profile work]\n{}{}", profile("AKIDFIRST"), profile("AKIDSECOND"));
    let credentials = format!("[default]\n{}\n[work]\n{}", profile("AKIDDEFAULT"), profile("AKIDWORK"));
    std::fs::create_dir(folder.path().join(".aws")).expect("a folder");
    std::fs::write(folder.path().join(".aws/config"), config).expect("a file");
    std::fs::write(folder.path().join(".aws/credentials"), credentials).expect("a file");
    assert_hidden(&secrets, "", folder.path(), &[], "AKIDDEFAULT").await;
    assert_hidden(&secrets, "&profile=work", folder.path(), &[], "AKIDWORK").await;
    assert_hidden(&secrets, "", folder.path(), &[("AWS_PROFILE", "work".to_owned())], "AKIDWORK").await;
}

#[tokio::test]
async fn process_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let folder = temporary();
    let answer = folder.path().join("answer.json");
    std::fs::write(&answer, given(&mut secrets, "AKIDPROCESS")).expect("a file");
    let argument = secrets.make("an argument of the process");
    let command = format!("sh -c \"cat {}\" {argument}", answer.display());
    std::fs::create_dir(folder.path().join(".aws")).expect("a folder");
    std::fs::write(folder.path().join(".aws/config"), format!("[default]\ncredential_process = {command}\n")).expect("a file");
    assert_hidden(&secrets, "", folder.path(), &[], "AKIDPROCESS").await;
}

#[tokio::test]
async fn container_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let answer = given(&mut secrets, "AKIDCONTAINER");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", serve(move |_| answer.clone())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", secrets.make("the container's token")),
    ];
    assert_hidden(&secrets, "", temporary().path(), &variables, "AKIDCONTAINER").await;
}

#[tokio::test]
async fn instance_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let (token, answer) = (secrets.make("the token of the metadata service"), given(&mut secrets, "AKIDINSTANCE"));
    let service = serve(move |path| match path {
        "/latest/api/token" => token.clone(),
        path if path.ends_with("/placement/region") => "us-east-1".to_owned(),
        path if path.ends_with("credentials/") || path.ends_with("credentials") => "role".to_owned(),
        _ => answer.clone(),
    });
    // The region is requested there, too.
    let variables = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", service),
        ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ("AWS_REGION", String::new()),
    ];
    assert_hidden(&secrets, "", temporary().path(), &variables, "AKIDINSTANCE").await;
}

#[tokio::test]
async fn web_identity_credentials_are_never_shown() {
    let mut secrets = Secrets::new();
    let folder = temporary();
    let identity = folder.path().join("token");
    std::fs::write(&identity, secrets.make("the identity's token")).expect("a file");
    let (secret, token) = (secrets.make("the secret access key"), secrets.make("the session token"));
    let sts = serve(move |_| {
        let given = format!(
            "<AccessKeyId>AKIDIDENTITY</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>"
        );
        let given = format!("<Credentials>{given}<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>");
        let result = format!("<AssumeRoleWithWebIdentityResult>{given}</AssumeRoleWithWebIdentityResult>");
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{result}</AssumeRoleWithWebIdentityResponse>"
        )
    });
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", identity.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/tests".to_owned()),
        ("AWS_ENDPOINT_URL_STS", sts),
    ];
    assert_hidden(&secrets, "", folder.path(), &variables, "AKIDIDENTITY").await;
}
