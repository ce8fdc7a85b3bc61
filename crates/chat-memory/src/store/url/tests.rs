use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::store::InMemoryStore;

fn url(text: &str) -> StoreUrl {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<StoreUrl>().expect_err(text);
    assert!(error.is_invalid(), "{text}: {error:?}");
    error.to_string()
}

fn refuses(cases: &[(&str, &[&str])]) {
    for (text, parts) in cases {
        let said = refusal(text);
        for part in *parts {
            assert!(said.contains(part), "{text}: {part:?} is not in {said:?}");
        }
    }
}

#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Scheme for Nowhere {
    fn form(&self) -> &'static str {
        "nowhere:PLACE"
    }

    fn parameters(&self) -> Vec<&'static str> {
        vec!["read_only", "mode", "namespace"]
    }

    async fn open(&self, url: &StoreUrl) -> Result<Arc<dyn ChatStore>, Error> {
        if url.place()?.is_empty() { Err(Error::invalid("it needs a place")) } else { Ok(Arc::new(InMemoryStore::new())) }
    }
}

#[tokio::test]
async fn registered_scheme_is_parsed_opened_and_named() {
    let _ = register(Nowhere);
    assert!(register(Nowhere).expect_err("a taken name").is_invalid());
    let url: StoreUrl = "nowhere:a/b%20c?mode=x%26y".parse().expect("a registered scheme");
    assert_eq!(url.to_string(), "nowhere:a/b%20c?mode=x%26y");
    assert_eq!((url.scheme(), url.place().expect("a text"), url.parameter("mode")), ("nowhere", "a/b c", Some("x&y")));
    url.open().await.expect("it opens");
    let read_only = url.clone().into_read_only().expect("it has read_only");
    assert_eq!(read_only.to_string(), "nowhere:a/b%20c?mode=x%26y&read_only=true");
    assert!(read_only.is_read_only() && !url.is_read_only());
    assert_eq!(read_only.to_string().parse::<StoreUrl>().expect("its own text"), read_only);
    let acme = Namespace::new("acme").expect("a name");
    let within = url.in_namespace(&acme).and_then(|url| url.in_namespace(&acme)).expect("it has namespaces");
    assert_eq!(within.parameter("namespace"), Some("acme/acme"));
    assert!(url.with("mood", "x").expect_err("no such parameter").is_unsupported());
    assert!(crate::open("nowhere:").await.expect_err("no place").is_invalid());
    refuses(&[
        ("nowhere:a?mood=x", &["\"mood\"", "read_only, mode"]),
        ("nowhere:a?read_only=maybe", &["invalid read_only \"maybe\": expected true or false"]),
        ("nowhere:a?namespace=a%23b", &["invalid namespace", "'#'"]),
        ("elsewhere:a", &["\"elsewhere:…\"", "nowhere:PLACE"]),
    ]);
}

#[test]
fn malformed_input_errors_name_the_fault() {
    refuses(&[
        ("chat.db", &["no colon", "sqlite:"]),
        ("postgres://u:hunter2@h/d", &["sqlite:PATH", "dynamodb://TABLE", "memory:"]),
        ("memory:x", &["sqlite:PATH"]),
        ("memory://x", &["no host"]),
        ("memory:?read_only=true", &["\"read_only\"", "retention"]),
        ("memory:?retention=1500ms", &["invalid retention \"1500ms\": expected a whole number above 0 of whole seconds"]),
        ("memory:?retention=1d&retention=2d", &["retention", "twice"]),
    ]);
    assert!(url("memory:").into_read_only().expect_err("nothing to read").is_invalid());
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_urls_are_parsed_and_checked() {
    for (text, path) in [
        ("sqlite:chat.db", "chat.db"),
        ("sqlite:./a/chat.db", "./a/chat.db"),
        ("sqlite:/var/chat.db", "/var/chat.db"),
        ("sqlite:///var/chat.db", "/var/chat.db"),
        ("sqlite:my%20chats%3F.db", "my chats?.db"),
        ("sqlite:100%25.db", "100%.db"),
        ("sqlite:grüße.db", "grüße.db"),
    ] {
        assert_eq!(url(text), StoreUrl::new("sqlite", path).expect(path), "{text}");
        assert_eq!(url(text).path(), Path::new(path));
    }
    let all = "sqlite:a?busy_timeout=3s&create_parent=true&max_record=2MB&read_only=true&retention=30d";
    assert_eq!(url(all).to_string(), all);
    let builder = format!("{:?}", url(all).sqlite().expect("a SQLite URL"));
    for part in
        ["busy_timeout: 3s", "create_parent: true", "max_record_bytes: 2000000", "read_only: true", "retention: Some(2592000s)"]
    {
        assert!(builder.contains(part), "{part} is not in {builder}");
    }
    assert_eq!(url("sqlite:a").into_read_only().expect("a file"), url("sqlite:a?read_only=true"));
    let within = |url: &str| {
        let url: StoreUrl = url.parse().expect("a good URL");
        url.in_namespace(&Namespace::new("acme").expect("a name")).expect("a URL").to_string()
    };
    assert_eq!(within("sqlite:/data/chats.db?retention=30d"), "sqlite:/data/chats.acme.db?retention=30d");
    assert_eq!(within("sqlite:chats"), "sqlite:chats.acme");
    refuses(&[
        ("sqlite:", &["missing path"]),
        ("sqlite:?read_only=true", &["missing path"]),
        ("sqlite::memory:", &["memory:"]),
        ("sqlite://host/chat.db", &["no host", "sqlite:///PATH"]),
        ("sqlite:a%zz.db", &["%25", "the path"]),
        ("sqlite:a%", &["%25"]),
        ("sqlite:a%00b", &["NUL"]),
        ("sqlite:a?retention=30", &["invalid retention \"30\"", "30d"]),
        ("sqlite:a?retention=0d", &["retention", "above 0"]),
        ("sqlite:a?max_record=1000MB", &["max_record", "900MB"]),
        ("sqlite:a?region=eu-west-1", &["\"region\"", "retention, read_only, create_parent"]),
        ("sqlite:a?read_only", &["read_only", "true or false"]),
        ("sqlite:a?password=hunter2", &["credentials"]),
    ]);
}

#[cfg(all(feature = "sqlite", unix))]
#[test]
fn non_utf8_path_round_trips() {
    use std::os::unix::ffi::OsStringExt;
    let path = OsString::from_vec(vec![b'a', 0xff, b'?']);
    let sqlite = StoreUrl::new("sqlite", path.clone()).expect("a path");
    assert_eq!(url(&sqlite.to_string()).path(), Path::new(&path));
    let odd = StoreUrl::new("sqlite", "//x").expect("a path");
    assert_eq!(url(&odd.to_string()), odd);
}

#[cfg(feature = "dynamodb")]
#[test]
fn dynamodb_urls() {
    let text = "dynamodb://chats?consistency=eventual&deadline=1m&endpoint=http://127.0.0.1:8000&max_record=500KB&namespace=acme\
                &partition_key=pk&profile=dev&read_only=true&region=eu-west-1&request_timeout=1500ms&retention=12h&sort_key=s%20k";
    assert_eq!(url(text).to_string(), text);
    let mut said = crate::store::dynamodb::Options::new("chats")
        .with_region("eu-west-1")
        .with_keys("pk", "s k")
        .with_endpoint("http://127.0.0.1:8000")
        .with_profile("dev")
        .with_namespace(Namespace::new("acme").expect("a namespace"))
        .with_retention(std::time::Duration::from_secs(12 * 3600))
        .with_eventual_loads(true)
        .with_read_only(true)
        .with_max_record_bytes(500_000)
        .with_request_timeout(std::time::Duration::from_millis(1500));
    said.deadline = std::time::Duration::from_secs(60);
    assert_eq!(format!("{:?}", url(text).dynamodb()), format!("{:?}", Some(said)));
    let (bare, default) = (url("dynamodb://chats").dynamodb(), crate::store::dynamodb::Options::new("chats"));
    assert_eq!(format!("{bare:?}"), format!("{:?}", Some(default)));

    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/chats";
    for text in [format!("dynamodb://{arn}"), format!("dynamodb://{}", arn.replace(':', "%3A").replace('/', "%2F"))] {
        assert_eq!(url(&text).dynamodb().expect("a table").table, arn);
    }
    assert_eq!(url("dynamodb://chats").into_read_only().expect("a table"), url("dynamodb://chats?read_only=true"));
    refuses(&[
        ("dynamodb:chats", &["dynamodb://TABLE"]),
        ("dynamodb://", &["invalid table \"\""]),
        ("dynamodb://a/b", &["invalid table \"a/b\""]),
        ("dynamodb://chats?tabel=x", &["\"tabel\"", "partition_key"]),
        ("dynamodb://chats?consistency=weak", &["invalid consistency \"weak\": expected strong or eventual"]),
        ("dynamodb://chats?max_record=16MiB", &["max_record", "16MB"]),
        ("dynamodb://chats?namespace=a%23b", &["namespace", "'#'"]),
        ("dynamodb://chats?endpoint=localhost:8000", &["invalid endpoint: ", "http://127.0.0.1:8000"]),
        ("dynamodb://chats?region=", &["region", "eu-west-1"]),
        ("dynamodb://chats?region=EU-WEST-1", &["invalid region \"EU-WEST-1\": expected a name such as eu-west-1"]),
        ("dynamodb://chats?profile=", &["profile", "empty"]),
        ("dynamodb://chats?sort_key=", &["sort_key", "1 to 255"]),
        ("dynamodb://chats?deadline=soon", &["deadline", "\"soon\""]),
        ("dynamodb://chats?partition_key=messages", &["invalid partition_key \"messages\""]),
    ]);
}

#[cfg(feature = "dynamodb")]
#[test]
fn credentials_are_refused_and_not_repeated() {
    for text in [
        "dynamodb://AKIAEXAMPLE:hunter2@chats?region=eu-west-1",
        "dynamodb://hunter2@chats",
        "dynamodb://chats?access_key=hunter2",
        "dynamodb://chats?region=eu-west-1&aws_secret_access_key=hunter2",
        "dynamodb://chats?AccessKeyId=hunter2",
        "dynamodb://chats?session-token=hunter2",
        "dynamodb://chats?%73ecret=hunter2",
        "dynamodb://chats?endpoint=http://user:hunter2@127.0.0.1:8000",
        "postgres://user:hunter2@host/db",
    ] {
        assert!(!refusal(text).contains("hunter2"), "{text}");
    }
    assert!(refusal("dynamodb://chats?access_key=hunter2").contains("AWS_ACCESS_KEY_ID"));
}

#[cfg(not(any(feature = "sqlite", feature = "dynamodb")))]
#[tokio::test]
async fn missing_store_feature_is_named() {
    for (text, feature) in [("sqlite:a", "\"sqlite\""), ("dynamodb://chats", "\"dynamodb\"")] {
        let error = crate::open(text).await.expect_err("not built in");
        assert!(error.is_unsupported() && error.to_string().contains(feature), "{error}");
    }
}

/// Each setting is named in every place that lists them, and no other is.
#[cfg(all(feature = "sqlite", feature = "dynamodb"))]
#[test]
fn every_list_of_settings_is_complete() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(repository.join(path)).expect(path);
    let dynamodb = crate::store::dynamodb::Options::SETTINGS.map(|setting| (setting.name, setting.example));
    let sqlite = crate::store::sqlite::SqliteBuilder::SETTINGS.map(|setting| (setting.name, setting.example));
    let (readme, help) = (read("README.md"), read("crates/chat-memory-cli/src/cli.rs"));
    for (name, example) in dynamodb.iter().chain(&sqlite) {
        assert!(
            readme.contains(&format!("`{name}`")) || readme.contains(&format!("`{name}={example}`")),
            "README.md: {name}={example}"
        );
        assert!(help.contains(&format!("{name}={example}")), "the program's --help: {name}={example}");
    }
    let camel = |name: &str| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
    };
    let (words, options) = (read("bindings/node/src/words.ts"), read("bindings/node/src/url.ts"));
    let listed = words.split_once("export const OPTIONS = {").and_then(|(_, rest)| rest.split_once('}')).expect("the list").0;
    let ours: Vec<_> = dynamodb.iter().map(|(name, _)| format!("{name}: \"{}\",", camel(name))).collect();
    let theirs: Vec<_> = listed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(theirs, ours, "words.ts");
    let fields = options
        .split_once("export interface DynamoDBOptions {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .expect("the type")
        .0;
    let theirs: Vec<_> = fields.lines().filter_map(|line| Some(line.split_once("?: ")?.0.trim().to_owned())).collect();
    assert_eq!(theirs, dynamodb.map(|(name, _)| camel(name)), "url.ts");
}

prop_compose! {
    fn any_url()(
        place in "[^\u{0}]{1,40}",
        mode in proptest::option::of("\\PC{0,20}"),
        read_only in proptest::option::of(any::<bool>()),
        namespace in proptest::option::of("[a-z &=+%@/äß]{1,20}"),
    ) -> StoreUrl {
        let _ = register(Nowhere);
        let given = [("mode", mode), ("read_only", read_only.map(|it| it.to_string())), ("namespace", namespace)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let url = StoreUrl::new("nowhere", place).expect("any place");
        given.fold(url, |url, (name, value)| url.with(name, value).expect("a good value"))
    }
}

proptest! {
    #[test]
    fn store_url_round_trips_as_text(url in any_url()) {
        let text = url.to_string();
        let read = text.parse::<StoreUrl>().unwrap_or_else(|e| panic!("{text}: {e}"));
        prop_assert_eq!((read.path(), &read.parameters), (url.path(), &url.parameters));
    }

    #[test]
    fn parsing_a_store_url_never_panics(text in "(sqlite:|dynamodb://|memory:)?\\PC{0,60}") {
        let _ = text.parse::<StoreUrl>();
    }
}
