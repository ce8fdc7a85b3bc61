//! The README shows what the program does: its `console` blocks are run from the top, in one folder with one store, and the text below a
//! command must equal its output. CHAT_MEMORY_PROGRAM names another program to run, such as an artefact of a release.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands of a block, each with the lines below it.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => *output += &format!("{line}\n"),
            (None, None) => panic!("a block starts with a command, not with {line:?}"),
        }
    }
    commands
}

#[test]
fn readme_shows_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let program = std::env::var_os("CHAT_MEMORY_PROGRAM").filter(|program| !program.is_empty());
    let program = program.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_chat-memory")), PathBuf::from);
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").unwrap_or_default());
    let blocks: Vec<&str> = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the README shows nothing of the program");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for block in blocks {
        for (command, expected) in commands(block) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).current_dir(folder.path()).env("PATH", &path);
            shell.env_remove("CHAT_MEMORY_STORE").env("XDG_DATA_HOME", folder.path()).env("NO_COLOR", "1");
            let output = shell.output().expect("a shell");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(out, expected, "{command} (standard error: {err})");
        }
    }
}
