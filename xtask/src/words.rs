//! Words that this project does not use, since readers search for the usual ones.

use crate::Result;
use crate::cargo::root;

/// What is not written, and what is written instead.
const WORDS: &[(&str, &str)] = &[
    ("beside", "next to, alongside, compared with"),
    ("anew", "again"),
    ("reckon", "estimate"),
    ("goes on", "continues, resumes"),
    ("stands in", "is stored in, is listed in"),
    ("of nobody", "unowned, without an owner"),
    ("nobody knows", "unknown"),
    ("so many", "n, up to n"),
    ("is told", "returns, reports"),
    ("bears", "has, carries"),
    ("wrong usage", "usage error"),
    ("itself meets", "other store errors"),
];

/// Files that quote them: this one, and what was written before.
const QUOTE: &[&str] = &["xtask/src/words.rs", "CHANGELOG.md"];

const ENDS: &[&str] = &[".rs", ".md", ".mjs", ".cjs", ".ts", ".py", ".yaml"];

/// Finds words that are not used.
pub fn check() -> Result {
    let listed = std::process::Command::new("git").args(["ls-files"]).current_dir(root()).output();
    let listed = listed.map_err(|e| format!("git could not list the files: {e}."))?;
    let mut found = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        if QUOTE.contains(&name) || !ENDS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let text = std::fs::read_to_string(root().join(name)).map_err(|e| format!("{name} could not be read: {e}."))?;
        for (number, line) in text.lines().enumerate() {
            found.extend(used(line).map(|(word, instead)| format!("{name}:{}: {word:?}: write {instead}", number + 1)));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(format!("{}\n{} words are not this project's.", found.join("\n"), found.len())) }
}

fn used(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let line = line.to_lowercase();
    WORDS.iter().copied().filter(move |(word, _)| {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_-.\"`'#".contains(c));
        line.match_indices(word).any(|(at, _)| {
            !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next().filter(|c| *c != '.'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::used;

    #[test]
    fn words_are_found_but_identifiers_are_not() {
        assert_eq!(used("It is made anew.").map(|(word, _)| word).collect::<Vec<_>>(), ["anew"]);
        assert_eq!(used("`langchain.beside`, read_beside(), --beside").count(), 0);
    }
}
