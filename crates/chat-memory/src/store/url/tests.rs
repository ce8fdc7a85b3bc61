use proptest::prelude::*;

use super::*;

fn url(text: &str) -> StoreUrl {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<StoreUrl>().expect_err(text);
    assert!(error.is_invalid(), "{text}: {error:?}");
    error.to_string()
}

#[test]
fn sqlite_paths() {
    for (text, path) in [
        ("sqlite:chat.db", "chat.db"),
        ("sqlite:./a/chat.db", "./a/chat.db"),
        ("sqlite:/var/chat.db", "/var/chat.db"),
        ("sqlite:///var/chat.db", "/var/chat.db"),
        ("sqlite:my%20chats%3F.db", "my chats?.db"),
        ("sqlite:100%25.db?read_only=false", "100%.db"),
        ("sqlite:grüße.db", "grüße.db"),
    ] {
        assert_eq!(url(text), StoreUrl::Sqlite(SqliteUrl::new(path)), "{text}");
    }
    let StoreUrl::Sqlite(sqlite) = url("sqlite:a?retention=30d&read_only=true") else { panic!("another store") };
    assert_eq!((sqlite.retention, sqlite.read_only), (Some(Duration::from_secs(30 * 86_400)), true));
    let said = SqliteUrl {
        create_parent: true,
        max_record_bytes: Some(2_000_000),
        busy_timeout: Some(Duration::from_secs(3)),
        ..SqliteUrl::new("a")
    };
    assert_eq!(url("sqlite:a?create_parent=true&max_record=2MB&busy_timeout=3s"), StoreUrl::Sqlite(said));
}

#[test]
fn everything_a_dynamodb_url_can_say() {
    let text = "dynamodb://chats?region=eu-west-1&partition_key=pk&sort_key=s%20k&endpoint=http://127.0.0.1:8000&profile=dev\
                &namespace=acme&retention=12h&consistency=eventual&read_only=true&max_record=500KB&request_timeout=1500ms&deadline=1m";
    let StoreUrl::DynamoDb(read) = url(text) else { panic!("another store") };
    let said = DynamoDbUrl {
        region: Some("eu-west-1".into()),
        partition_key: Some("pk".into()),
        sort_key: Some("s k".into()),
        endpoint: Some("http://127.0.0.1:8000".into()),
        profile: Some("dev".into()),
        namespace: Some(Namespace::new("acme").expect("a namespace")),
        retention: Some(Duration::from_secs(12 * 3600)),
        eventual: true,
        read_only: true,
        max_record_bytes: Some(500_000),
        request_timeout: Some(Duration::from_millis(1500)),
        deadline: Some(Duration::from_secs(60)),
        ..DynamoDbUrl::new("chats")
    };
    assert_eq!(read, said);
    assert_eq!(StoreUrl::DynamoDb(said).to_string(), text);
}

#[test]
fn a_table_by_its_arn() {
    let arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/chats";
    for text in [format!("dynamodb://{arn}"), format!("dynamodb://{}", arn.replace(':', "%3A").replace('/', "%2F"))] {
        assert_eq!(url(&text), StoreUrl::DynamoDb(DynamoDbUrl::new(arn)));
    }
}

#[cfg(feature = "dynamodb")]
#[test]
fn what_is_not_said_is_the_stores_default() {
    let StoreUrl::DynamoDb(bare) = url("dynamodb://chats") else { panic!("another store") };
    let (options, default) = (bare.options(), super::super::dynamodb::Options::new("chats"));
    assert_eq!(format!("{options:?}"), format!("{default:?}"));
}

#[test]
fn mistakes_are_named() {
    for (text, parts) in [
        ("chat.db", &["no colon", "sqlite:"][..]),
        ("postgres://u:hunter2@h/d", &["sqlite:PATH", "dynamodb://TABLE", "memory:"]),
        ("sqlite:", &["names a file"]),
        ("sqlite:?read_only=true", &["names a file"]),
        ("sqlite::memory:", &["memory:"]),
        ("sqlite://host/chat.db", &["no host", "sqlite:///PATH"]),
        ("sqlite:a%zz.db", &["%25", "the path"]),
        ("sqlite:a%", &["%25"]),
        ("sqlite:a%00b", &["NUL"]),
        ("sqlite:a?retention=30", &["retention", "30d"]),
        ("sqlite:a?retention=0d", &["retention", "above 0"]),
        ("sqlite:a?retention=1500ms", &["retention", "whole seconds"]),
        ("sqlite:a?retention=99999999999999999999d", &["retention"]),
        ("sqlite:a?region=eu-west-1", &["\"region\"", "retention, read_only, create_parent"]),
        ("sqlite:a?read_only", &["read_only", "true or false"]),
        ("sqlite:a?read_only=true&read_only=true", &["read_only", "twice"]),
        ("memory:x", &["sqlite:PATH"]),
        ("memory:?read_only=true", &["\"read_only\"", "retention"]),
        ("dynamodb:chats", &["dynamodb://"]),
        ("dynamodb://", &["names a table"]),
        ("dynamodb://a/b", &["names a table", "\"a/b\""]),
        ("dynamodb://chats?tabel=x", &["\"tabel\"", "partition_key"]),
        ("dynamodb://chats?consistency=weak", &["consistency", "strong or eventual"]),
        ("dynamodb://chats?max_record=16MiB", &["max_record", "16MB"]),
        ("dynamodb://chats?namespace=a%23b", &["namespace", "'#'"]),
        ("dynamodb://chats?endpoint=localhost:8000", &["endpoint", "http://127.0.0.1:8000"]),
        ("dynamodb://chats?region=", &["region", "eu-west-1"]),
        ("dynamodb://chats?region=Ireland!", &["region", "eu-west-1"]),
        ("dynamodb://chats?profile=", &["profile", "empty"]),
        ("dynamodb://chats?sort_key=", &["sort_key", "1 to 255"]),
        ("dynamodb://chats?deadline=soon", &["deadline", "\"soon\""]),
    ] {
        let said = refusal(text);
        for part in parts {
            assert!(said.contains(part), "{text}: {part:?} is not in {said:?}");
        }
    }
}

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
        "sqlite:a?password=hunter2",
    ] {
        assert!(!refusal(text).contains("hunter2"), "{text}");
    }
    assert!(refusal("dynamodb://chats?access_key=hunter2").contains("AWS_ACCESS_KEY_ID"));
}

#[test]
fn only_a_lasting_store_can_be_read_only() {
    assert_eq!(url("sqlite:a").into_read_only().expect("a file"), url("sqlite:a?read_only=true"));
    assert_eq!(url("dynamodb://chats").into_read_only().expect("a table"), url("dynamodb://chats?read_only=true"));
    assert!(url("memory:").into_read_only().expect_err("nothing to read").is_invalid());
}

#[cfg(not(any(feature = "sqlite", feature = "dynamodb")))]
#[tokio::test]
async fn a_store_that_is_not_built_in_names_its_feature() {
    for (text, feature) in [("sqlite:a", "\"sqlite\""), ("dynamodb://chats", "\"dynamodb\"")] {
        let error = url(text).open().await.expect_err("not built in");
        assert!(error.is_unsupported() && error.to_string().contains(feature), "{error}");
    }
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..u64::MAX / 1_000_000).prop_map(Duration::from_millis),
        (1..40_u64).prop_map(|d| Duration::from_secs(d * 86_400))
    ]
}

fn retentions() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((1..1_000_000_000_u64).prop_map(Duration::from_secs))
}

prop_compose! {
    fn dynamodb_urls()(
        table in "[a-zA-Z0-9_.-]{3,40}|arn:aws:dynamodb:eu-west-1:123456789012:table/[a-z]{3,9}",
        region in proptest::option::of("[a-z]{2}-[a-z]{4,9}-[0-9]"),
        keys in (proptest::option::of("\\PC{1,20}"), proptest::option::of("\\PC{1,20}")),
        endpoint in proptest::option::of("https?://[a-z]{1,9}(:[1-9][0-9]{0,3})?/?"),
        profile in proptest::option::of("\\PC{1,20}"),
        namespace in proptest::option::of("[a-z &=+%@/äß]{1,20}"),
        retention in retentions(),
        flags in (any::<bool>(), any::<bool>()),
        max_record_bytes in proptest::option::of(1..usize::MAX),
        times in (proptest::option::of(durations()), proptest::option::of(durations())),
        list in (
            proptest::option::of(prop_oneof![Just(Layout::Turns), Just(Layout::List)]),
            proptest::option::of(prop_oneof![Just(Dialect::Js), Just(Dialect::Python)]),
            proptest::option::of("\\PC{1,20}"),
            proptest::option::of("\\PC{1,20}"),
            proptest::option::of(prop_oneof![Just(Roll::Off), (1..usize::MAX).prop_map(Roll::At)]),
        ),
    ) -> StoreUrl {
        StoreUrl::DynamoDb(DynamoDbUrl {
            layout: list.0,
            dialect: list.1,
            list_attribute: list.2,
            sort_value: list.3,
            ttl_attribute: None,
            roll: list.4,
            table, region, endpoint, profile, retention, max_record_bytes,
            partition_key: keys.0,
            sort_key: keys.1,
            namespace: namespace.map(|name| Namespace::new(name).expect("a namespace")),
            eventual: flags.0,
            read_only: flags.1,
            request_timeout: times.0,
            deadline: times.1,
        })
    }
}

fn urls() -> impl Strategy<Value = StoreUrl> {
    let (sizes, times) = (proptest::option::of(1..usize::MAX), proptest::option::of(durations()));
    let sqlite = ("[^\u{0}]{1,40}", retentions(), any::<bool>(), any::<bool>(), sizes, times)
        .prop_filter("not a file", |(path, ..)| path != ":memory:")
        .prop_map(|(path, retention, read_only, create_parent, max_record_bytes, busy_timeout)| {
            let path = path.into();
            StoreUrl::Sqlite(SqliteUrl { path, retention, read_only, create_parent, max_record_bytes, busy_timeout })
        });
    prop_oneof![sqlite, dynamodb_urls(), retentions().prop_map(|retention| StoreUrl::Memory(MemoryUrl { retention }))]
}

proptest! {
    #[test]
    fn a_url_is_read_as_it_was_written(url in urls()) {
        let text = url.to_string();
        prop_assert_eq!(text.parse::<StoreUrl>().unwrap_or_else(|e| panic!("{text}: {e}")), url);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(sqlite:|dynamodb://|memory:)?\\PC{0,60}") {
        let _ = text.parse::<StoreUrl>();
    }
}

#[cfg(unix)]
#[test]
fn a_path_is_kept_to_the_byte() {
    use std::os::unix::ffi::OsStringExt;
    let path = std::ffi::OsString::from_vec(vec![b'a', 0xff, b'?']);
    let sqlite = StoreUrl::Sqlite(SqliteUrl::new(path));
    assert_eq!(url(&sqlite.to_string()), sqlite);
}
