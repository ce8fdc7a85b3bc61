//! docs/deploying.md and the files in deploy/ name exactly the settings that exist.

use std::collections::BTreeSet;

use chat_memory_server::config::{Settings, Span};
use clap::{Args as _, Command};

const PAGE: &str = include_str!("../../../../docs/deploying.md");
const DOCKERFILE: &str = include_str!("../../../../deploy/Dockerfile");
const RELEASED: &str = include_str!("../../../../deploy/release.Dockerfile");
const LAMBDA: &str = include_str!("../../../../deploy/lambda.yaml");
const UNIT: &str = include_str!("../../../../deploy/chat-memory.service");

/// Not settings of the service, but options of `serve` or of all commands.
const OTHERS: [(&str, &str); 2] = [("--store", "CHAT_MEMORY_STORE"), ("--config", "CHAT_MEMORY_CONFIG")];

/// The flag and the variable of each setting.
fn settings() -> Vec<(String, String)> {
    let command = Settings::augment_args(Command::new("serve"));
    let of = |argument: &clap::Arg| {
        let flag = format!("--{}", argument.get_long().expect("a flag"));
        (flag, argument.get_env().expect("a variable").to_string_lossy().into_owned())
    };
    command.get_arguments().map(of).collect()
}

/// The cells of the table's rows, without their quotes.
fn table() -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once("\n## All settings\n").expect("the section");
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

#[test]
fn settings_table_lists_exactly_all_settings() {
    let table = table();
    let named: Vec<_> = table.iter().map(|line| line[0].clone()).collect();
    assert_eq!(named, Settings::names().collect::<Vec<_>>());
    let defaults: toml::Table = Settings::defaults().to_toml().parse().expect("TOML");
    let known = settings();
    for line in table {
        let [name, flag, variable, default, _] = &line[..] else { panic!("five cells: {line:?}") };
        let is_known =
            |(known_flag, known_variable): (&str, &str)| (known_flag, known_variable) == (flag.as_str(), variable.as_str());
        let mut all = known.iter().map(|(flag, variable)| (flag.as_str(), variable.as_str())).chain(OTHERS);
        assert!(all.any(is_known) && *flag == format!("--{name}"), "{line:?}");
        if name != "store" {
            let expected = defaults.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            let expected = expected.unwrap_or_default();
            // 60s may be printed as 1m.
            let is_same_time = default.parse::<Span>().is_ok() && default.parse::<Span>() == expected.parse();
            assert!(*default == expected || is_same_time, "{name}: the page says {default}, and it is {expected}");
        }
    }
}

#[test]
fn documented_flags_and_variables_exist() {
    let known = settings();
    let variables: BTreeSet<_> =
        known.iter().map(|(_, variable)| variable.as_str()).chain(OTHERS.map(|(_, variable)| variable)).collect();
    for (place, text) in [
        ("docs/deploying.md", PAGE),
        ("deploy/Dockerfile", DOCKERFILE),
        ("deploy/release.Dockerfile", RELEASED),
        ("deploy/lambda.yaml", LAMBDA),
        ("deploy/chat-memory.service", UNIT),
    ] {
        for (at, _) in text.match_indices("CHAT_MEMORY_") {
            let name = text[at..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default();
            assert!(variables.contains(name), "{place} names {name}");
        }
    }
    // The commands that serve use flags that exist.
    let flags: BTreeSet<_> =
        known.iter().map(|(flag, _)| flag.as_str()).chain(["--store", "--config", "--demo", "--print-config"]).collect();
    let serving = |line: &&str| line.contains("chat-memory serve") || line.contains(" serve --") || line.contains("\"serve\"");
    // `iam-policy --for serve` is another command's.
    let serving = |line: &&str| serving(line) && !line.contains("iam-policy");
    for line in [PAGE, DOCKERFILE, RELEASED, UNIT].into_iter().flat_map(str::lines).filter(serving) {
        let words = line.split([' ', '"', '`']).filter(|word| word.starts_with("--"));
        words.for_each(|flag| assert!(flags.contains(flag), "{flag} in {line}"));
    }
}
