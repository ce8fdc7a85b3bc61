//! The CloudFormation template compared with what the program itself prints and creates, and the health check of the Dockerfile.

use std::process::{Command, Stdio};

use crate::common::Place;
use crate::common::service::Service;
use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};
use serde_json::Value;

const TEMPLATE: &str = include_str!("../../../../deploy/cloudformation.yaml");

/// The part of the template that describes this resource.
fn resource(name: &str) -> &'static str {
    let (_, rest) = TEMPLATE.split_once(&format!("\n  {name}:\n    Type: ")).expect("the resource");
    // The next one, or the next section, is less indented.
    let end = rest.match_indices("\n  ").find(|(at, _)| !rest[at + 3..].starts_with(' ')).map_or(rest.len(), |(at, _)| at);
    &rest[..end]
}

/// The actions of a resource's statement, one per line.
fn actions(resource: &str, sid: &str) -> Vec<String> {
    let (_, rest) = resource.split_once(&format!("- Sid: {sid}\n")).expect("the statement");
    let (_, rest) = rest.split_once("Action:\n").expect("its actions");
    rest.lines().map_while(|line| line.trim().strip_prefix("- ")).map(str::to_owned).collect()
}

/// The policy that the program prints: its statements' names and actions.
fn policy(url: &str, args: &[&str]) -> Vec<(String, Vec<String>)> {
    let place = Place::at(url.to_owned());
    let policy = place.run(&[&["--json", "iam-policy"], args].concat()).json();
    let texts =
        |value: &Value| value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect();
    let statements = policy["Statement"].as_array().expect("statements");
    statements
        .iter()
        .map(|statement| (statement["Sid"].as_str().expect("a name").to_owned(), texts(&statement["Action"])))
        .collect()
}

#[test]
fn template_role_actions_match_the_iam_policy() {
    let table = "dynamodb://chats?region=eu-west-1";
    for (name, args) in [("Sessions", &[][..]), ("Check", &["--for", "table-check"])] {
        let printed = policy(table, args);
        let resource = resource(name);
        assert_eq!(resource.matches("- Sid: ").count(), printed.len(), "{name}: {resource}");
        for (sid, expected) in printed {
            assert_eq!(actions(resource, &sid), expected, "{name}, {sid}");
        }
    }
}

#[test]
fn template_role_is_restricted_to_the_namespace() {
    let place = Place::at("dynamodb://chats?region=eu-west-1&namespace=acme".to_owned());
    let policy = place.run(&["--json", "iam-policy"]).json();
    let (operator, keys) =
        policy["Statement"][0]["Condition"].as_object().and_then(|all| all.iter().next()).expect("a condition");
    let key = keys["dynamodb:LeadingKeys"][0].as_str().expect("a pattern").replace("acme", "${Namespace}");
    let sessions = resource("Sessions");
    assert!(
        sessions.contains(&format!("- {operator}:\n")) && sessions.contains(&format!("\"{key}\"")),
        "{operator} {key}: {sessions}"
    );
    // The service's keys have namespaces of their own within it.
    assert!(sessions.contains("\"ns#${Namespace}/*\""), "{sessions}");
}

#[test]
fn template_table_matches_table_create() {
    let place = Place::at(format!("dynamodb://{}?endpoint={}", table_name("deploy"), dynamodb_endpoint()));
    let place = credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value));
    place.run(&["table", "create"]).done();
    let findings = place.run(&["table", "check", "--json"]).json()["findings"].take();
    let said = |subject: &str| {
        let finding = findings.as_array().expect("a list").iter().find(|finding| finding["subject"] == subject);
        finding.unwrap_or_else(|| panic!("{subject} in {findings}"))["what"].as_str().expect("text").to_owned()
    };
    let table = resource("Table");
    for (line, subject, name) in [
        ("{ AttributeName: session_id, KeyType: HASH }", "keys", "session_id"),
        ("{ AttributeName: sk, KeyType: RANGE }", "keys", "sk"),
        ("TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }", "time-to-live", "ttl"),
    ] {
        assert!(table.contains(line), "{line} in {table}");
        assert!(said(subject).contains(&format!("\"{name}\"")), "{name}: {}", said(subject));
    }
    for line in [
        "BillingMode: PAY_PER_REQUEST",
        "DeletionPolicy: Retain",
        "UpdateReplacePolicy: Retain",
        "PointInTimeRecoveryEnabled: true",
    ] {
        assert!(table.contains(line), "{line} in {table}");
    }
}

/// The command with which Docker checks the container's health.
fn health_check() -> Vec<String> {
    let dockerfile = include_str!("../../../../deploy/Dockerfile");
    let line = dockerfile.lines().find_map(|line| line.strip_prefix("    CMD [\"bash\"")).expect("the health check");
    serde_json::from_str(&format!("[\"bash\"{line}")).expect("JSON, as Docker reads it")
}

#[test]
fn container_health_check_detects_a_stopped_service() {
    let check = health_check();
    let is_well = |listen: &str| {
        let status = Command::new(&check[0]).args(&check[1..]).env("CHAT_MEMORY_LISTEN", listen).stderr(Stdio::null()).status();
        status.expect("bash").success()
    };
    let place = Place::sqlite();
    let service = Service::start(&place, &[]);
    let at = service.url.strip_prefix("http://").expect("where it listens").to_owned();
    assert!(is_well(&at), "{at}");
    drop(service);
    assert!(!is_well(&at), "nobody listens there any more");
}
