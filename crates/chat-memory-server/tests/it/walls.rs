//! The arrows between the service's modules: which may use which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Finds the modules of the crate that each of them uses; a folder is one module.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let sources = folders[0].clone();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(&sources).expect("a source");
            let module = below.iter().next().and_then(|name| Path::new(name).file_stem()).expect("a name");
            let module = module.to_str().expect("UTF-8").to_owned();
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            for after in code.join("\n").split("crate::").skip(1) {
                // `crate::{a::b, c}` or `crate::a::b`.
                let list = after.strip_prefix('{').and_then(|list| list.split_once("};")).map(|(list, _)| list);
                let names = list.unwrap_or(after).split(", ").take(if list.is_some() { usize::MAX } else { 1 });
                let name = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
                uses.entry(module.clone()).or_default().extend(names.filter_map(name).filter(|name| *name != module));
            }
        }
    }
    uses
}

#[test]
fn operations_api_and_console_keep_their_layering() {
    let uses = uses();
    for (module, others) in [
        ("api", &["console", "app"][..]),
        ("console", &["api", "app"]),
        ("operations", &["api", "console", "app", "extract", "sse"]),
    ] {
        let used = others.iter().filter(|other| uses[module].contains(**other)).collect::<Vec<_>>();
        assert!(used.is_empty(), "{module} uses {used:?}");
    }
    assert!(uses["api"].contains("operations") && uses["console"].contains("operations"), "it reads the sources: {uses:?}");
}

#[test]
fn modules_have_no_circular_dependencies() {
    let mut uses = uses();
    // Takes away modules that use none of those left, until only circles remain.
    while let Some(leaf) =
        uses.iter().find(|(_, used)| !used.iter().any(|name| uses.contains_key(name))).map(|(leaf, _)| leaf.clone())
    {
        uses.remove(&leaf);
    }
    assert!(uses.is_empty(), "these modules form a circle: {uses:#?}");
}
