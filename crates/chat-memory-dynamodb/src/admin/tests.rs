use std::collections::BTreeMap;

use super::{Admin, Finding, Severity, Subject};
use crate::options::Layout;
use crate::testing::{Replay, Reply, at, local, table_name};
use chat_memory_core::Namespace;

fn of(findings: &[Finding], subject: Subject) -> &Finding {
    let mut found = findings.iter().filter(|finding| finding.subject == subject);
    let first = found.next().unwrap_or_else(|| panic!("{subject:?} in {findings:?}"));
    assert_eq!(found.next(), None, "one finding of a kind");
    first
}

fn severities(findings: &[Finding]) -> BTreeMap<&'static str, Severity> {
    findings.iter().map(|finding| (finding.subject.as_str(), finding.severity)).collect()
}

#[tokio::test]
async fn created_table_passes_the_check_and_creation_is_idempotent() {
    let options = local(&table_name("admin"));
    let admin = Admin::open(&options).await.expect("good options");
    let (first, second) = (admin.create_table().await.expect("made"), admin.create_table().await.expect("there"));
    assert_eq!((first.created, first.fits()), (true, true));
    assert_eq!((second.created, second.fits()), (false, true));
    assert_eq!(first.findings, second.findings);
    assert_eq!(first.table.schema.partition.name, "session_id");
    assert!(first.findings.iter().all(|finding| finding.severity == Severity::Fine), "{:?}", first.findings);

    let findings = admin.check().await;
    for finding in &findings {
        // DynamoDB Local reports no deletion protection and no backups.
        assert!(finding.severity == Severity::Fine || finding.subject == Subject::DeletionProtection, "{finding}");
    }
    assert!(of(&findings, Subject::Permissions).what.contains("reading and writing"));
    of(&findings, Subject::Clock);
    let written = admin.table().items_in_all().await;
    assert_eq!(written, 0, "a check leaves nothing behind");
}

#[tokio::test]
async fn existing_table_with_other_keys_does_not_fit() {
    let name = table_name("other");
    let made = Admin::open(&local(&name).with_keys("pk", "rk")).await.expect("good options");
    assert!(made.create_table().await.expect("made").fits());
    let admin = Admin::open(&local(&name)).await.expect("good options");
    let creation = admin.create_table().await.expect("there");
    assert!(!creation.created && !creation.fits());
    let keys = of(&creation.findings, Subject::Keys);
    assert_eq!(
        keys.remedy.as_deref(),
        Some(
            "give partition_key=pk and sort_key=rk in the store URL, or layout=list where LangChain or Flowise is to use the table too"
        )
    );
    assert_eq!(of(&admin.check().await, Subject::Keys), keys);
}

#[tokio::test]
async fn table_without_a_sort_key_fits_the_list_layout() {
    let name = table_name("admin-list");
    let made =
        Admin::open(&local(&name).with_layout(Layout::List)).await.expect("good options").create_table().await.expect("made");
    assert!(made.fits() && made.table.schema.sort.is_none(), "{:?}", made.findings);
    assert_eq!(made.table.schema.partition.name, "id");
    assert!(of(&made.findings, Subject::TimeToLive).what.contains("\"expireAt\""));

    // The layout is detected from the table's keys; no option is needed.
    let admin = Admin::open(&local(&name)).await.expect("good options");
    let findings = admin.check().await;
    assert!(findings.iter().all(|finding| finding.severity < Severity::Warning), "{findings:?}");
    assert!(of(&findings, Subject::Keys).what.contains("one item per session"), "{findings:?}");
    assert!(of(&findings, Subject::Permissions).what.contains("reading and writing"));
    assert_eq!(admin.table().items_in_all().await, 0, "a check leaves nothing behind");

    for (options, severity, word) in [
        (local(&name).with_layout(Layout::Turns), Severity::Error, "leave layout=turns out"),
        (local(&name).with_sort_value("sk"), Severity::Error, "has no sort key"),
        (local(&name).with_ttl_attribute("gone_at"), Severity::Warning, "ttl_attribute=expireAt"),
    ] {
        let findings = Admin::open(&options).await.expect("good options").check().await;
        let worst = findings.iter().max_by_key(|finding| finding.severity).expect("findings");
        assert!(worst.severity == severity && worst.to_string().contains(word), "{worst}");
    }
}

#[tokio::test]
async fn missing_table_is_the_only_finding() {
    let admin = Admin::open(&local(&table_name("gone"))).await.expect("good options");
    let findings = admin.check().await;
    assert_eq!(severities(&findings), BTreeMap::from([("table", Severity::Error)]), "{findings:?}");
    assert!(findings[0].what.contains("chat-memory table create"));
    assert!(admin.describe().await.expect_err("no table").is_not_found());
}

/// A table as AWS describes it, with these fields added.
fn described(more: &str) -> Reply {
    Reply::ok(format!(
        r#"{{"Table":{{"TableName":"chats","TableStatus":"ACTIVE","TableArn":"arn:aws:dynamodb:eu-west-1:111122223333:table/chats",
        "KeySchema":[{{"AttributeName":"session_id","KeyType":"HASH"}},{{"AttributeName":"sk","KeyType":"RANGE"}}],
        "AttributeDefinitions":[{{"AttributeName":"session_id","AttributeType":"S"}},{{"AttributeName":"sk","AttributeType":"S"}}]{more}}}}}"#
    ))
}

fn never(operation: &str) -> Reply {
    let failed = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    match operation {
        "getitem" => Reply::ok(r#"{"ConsumedCapacity":{"TableName":"chats","CapacityUnits":0.5}}"#),
        "query" | "scan" => {
            Reply::ok(r#"{"Items":[],"Count":0,"ScannedCount":0,"ConsumedCapacity":{"TableName":"chats","CapacityUnits":0.5}}"#)
        }
        "transactwriteitems" => Reply::Answer(
            400,
            String::new(),
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"ConditionalCheckFailed"}]}"#
                .to_owned(),
        ),
        _ => Reply::error(400, failed, "The conditional request failed"),
    }
}

fn denied() -> Reply {
    Reply::error(400, "com.amazon.coral.service#AccessDeniedException", "You may not")
}

#[tokio::test]
async fn global_unprotected_table_gets_warnings_and_hints() {
    let server = Replay::start(|operation, _| match operation {
        "describetable" => described(r#","Replicas":[{"RegionName":"us-east-1"}],"DeletionProtectionEnabled":false"#),
        "describetimetolive" => Reply::ok(r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}"#),
        "describecontinuousbackups" => Reply::ok(
            r#"{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"DISABLED"}}}"#,
        ),
        _ => never(operation),
    });
    let findings = server.admin().await.check().await;
    let expected = BTreeMap::from([
        ("table", Severity::Fine),
        ("keys", Severity::Fine),
        ("time-to-live", Severity::Hint),
        ("replicas", Severity::Warning),
        ("permissions", Severity::Fine),
        ("backups", Severity::Hint),
        ("deletion-protection", Severity::Hint),
    ]);
    assert_eq!(severities(&findings), expected, "{findings:?}");
    for finding in &findings {
        assert_eq!(finding.remedy.is_some(), finding.severity > Severity::Fine, "each with its remedy: {finding}");
    }
    assert!(of(&findings, Subject::Replicas).to_string().contains("us-east-1"));
}

#[tokio::test]
async fn missing_permissions_are_named() {
    let server = Replay::start(|operation, body| {
        assert!(operation.starts_with("describe") || body.contains("ns#tenant#dir#"), "inside the namespace: {body}");
        match operation {
            "updateitem" | "transactwriteitems" => denied(),
            _ if operation.starts_with("describe") => denied(),
            _ => never(operation),
        }
    });
    let options = at(&server.endpoint, "chats").with_namespace(Namespace::new("tenant").expect("a name"));
    let findings = Admin::open(&options).await.expect("good options").check().await;
    let permissions = of(&findings, Subject::Permissions);
    assert_eq!(permissions.severity, Severity::Error);
    assert!(permissions.what.ends_with("lack dynamodb:ConditionCheckItem, dynamodb:UpdateItem"), "{permissions}");
    for subject in [Subject::Keys, Subject::TimeToLive, Subject::Backups] {
        assert_eq!(of(&findings, subject).severity, Severity::Hint, "not needed for sessions");
    }
}

#[tokio::test]
async fn read_only_check_tries_only_reads() {
    let server = Replay::start(|operation, _| match operation {
        "describetable" => described(""),
        _ if operation.starts_with("describe") => denied(),
        _ => never(operation),
    });
    let options = at(&server.endpoint, "chats").with_read_only(true);
    let admin = Admin::open(&options).await.expect("good options");
    assert_eq!(of(&admin.check().await, Subject::Permissions).what, "the credentials allow reading");
    assert!(!server.seen().iter().any(|operation| operation.contains("item") && operation != "getitem"), "{:?}", server.seen());
    assert!(admin.create_table().await.expect_err("read only").is_read_only());
}

#[tokio::test]
async fn clock_skew_is_a_warning_then_an_error() {
    for (seconds, severity) in [(0, Severity::Fine), (90, Severity::Warning), (-90, Severity::Warning), (400, Severity::Error)] {
        let server = Replay::start(move |operation, _| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
            let date = aws_smithy_types::DateTime::from_secs(i64::try_from(now).expect("small") + seconds);
            let date = date.fmt(aws_smithy_types::date_time::Format::HttpDate).expect("a date");
            let reply = if operation == "describetable" { described("") } else { never(operation) };
            let Reply::Answer(status, _, body) = reply else { unreachable!("these are answers") };
            Reply::Answer(status, format!("Date: {date}\r\n"), body)
        });
        let findings = server.admin().await.check().await;
        assert_eq!(of(&findings, Subject::Clock).severity, severity, "{seconds}: {findings:?}");
    }
}

#[tokio::test]
async fn refused_credentials_stop_the_check() {
    let words = "The security token included in the request is invalid.";
    let server = Replay::start(move |_, _| Reply::error(400, "com.amazon.coral.service#UnrecognizedClientException", words));
    let findings = server.admin().await.check().await;
    assert_eq!(severities(&findings), BTreeMap::from([("permissions", Severity::Error)]), "{findings:?}");
    assert_eq!(server.seen(), ["describetable"]);
}

#[tokio::test]
async fn create_table_waits_until_usable_and_survives_lost_answers() {
    let state = std::sync::Mutex::new(BTreeMap::<String, u32>::new());
    let server = Replay::start(move |operation, body| {
        let mut state = state.lock().expect("no panic");
        let times = state.entry(operation.to_owned()).or_default();
        *times += 1;
        match (operation, *times) {
            ("createtable", _) => {
                assert!(body.contains("PAY_PER_REQUEST"), "{body}");
                let Reply::Answer(status, headers, body) = described("") else { unreachable!("an answer") };
                Reply::Answer(status, headers, body.replace("\"Table\":", "\"TableDescription\":"))
            }
            ("describetable", 1) => Reply::error(400, "x#ResourceNotFoundException", "Requested resource not found"),
            ("describetable", 2) => Reply::Hangup,
            ("describetable", 3) => {
                let Reply::Answer(status, headers, body) = described("") else { unreachable!("an answer") };
                Reply::Answer(status, headers, body.replace("ACTIVE", "CREATING"))
            }
            ("describetable", _) => described(""),
            ("describetimetolive", 1) => Reply::ok(r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}"#),
            ("describetimetolive", _) => {
                Reply::ok(r#"{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLING","AttributeName":"ttl"}}"#)
            }
            ("updatetimetolive", 1) => Reply::Hangup,
            _ => Reply::error(400, "x#ValidationException", "TimeToLive is already enabled"),
        }
    });
    let creation = server.admin().await.create_table().await.expect("made");
    assert!(creation.created && creation.fits() && creation.table.usable, "{creation:?}");
    let updates = server.seen().iter().filter(|operation| *operation == "updatetimetolive").count();
    assert_eq!(updates, 1, "not twice: {:?}", server.seen());
}

#[tokio::test]
async fn admin_futures_are_send() {
    let admin = Admin::open(&local(&table_name("send"))).await.expect("good options");
    let creation = tokio::spawn(async move { admin.create_table().await }).await.expect("no panic");
    assert!(creation.expect("made").created);
}
