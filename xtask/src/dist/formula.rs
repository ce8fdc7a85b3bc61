//! The Homebrew formula, from the checksums of a release's archives.

use std::path::Path;

use crate::Result;
use crate::metadata::field;

/// The systems of the formula: Homebrew's words for each, and the target of its archive.
const SYSTEMS: [(&str, &str, &str); 4] = [
    ("macos", "arm", "aarch64-apple-darwin"),
    ("macos", "intel", "x86_64-apple-darwin"),
    ("linux", "arm", "aarch64-unknown-linux-musl"),
    ("linux", "intel", "x86_64-unknown-linux-musl"),
];

/// Writes `chat-memory.rb` next to the SHA256SUMS in this folder.
pub fn write(folder: &Path) -> Result {
    let sums = folder.join("SHA256SUMS");
    let text = std::fs::read_to_string(&sums).map_err(|e| format!("{} cannot be read: {e}.", sums.display()))?;
    let formula = formula(&text, &field("version")?, &field("repository")?)?;
    let into = folder.join("chat-memory.rb");
    std::fs::write(&into, formula).map_err(|e| format!("{} cannot be written: {e}.", into.display()))
}

fn formula(sums: &str, version: &str, repository: &str) -> Result<String> {
    let mut urls = String::new();
    for system in ["macos", "linux"] {
        urls += &format!("\n  on_{system} do\n");
        for (_, arch, triple) in SYSTEMS.iter().filter(|(name, ..)| *name == system) {
            let name = format!("chat-memory-{triple}.tar.gz");
            let sum = sums.lines().find_map(|line| line.strip_suffix(&format!("  {name}")));
            let sum = sum.ok_or_else(|| format!("SHA256SUMS has no {name}; the formula needs the archives of all systems."))?;
            let url = format!("{repository}/releases/download/v{version}/{name}");
            urls += &format!("    on_{arch} do\n      url \"{url}\"\n      sha256 \"{sum}\"\n    end\n");
        }
        urls += "  end\n";
    }
    Ok(format!(
        r##"class ChatMemory < Formula
  desc "Durable chat memory on Amazon DynamoDB, or in one SQLite file"
  homepage "{repository}"
  version "{version}"
  license any_of: ["MIT", "Apache-2.0"]
{urls}
  def install
    bin.install "chat-memory"
    generate_completions_from_executable(bin/"chat-memory", "completions", shells: [:bash, :zsh, :fish])
  end

  test do
    system bin/"chat-memory", "--store", "sqlite:#{{testpath}}/chat.db", "append", "trip", "Hello"
    assert_match "Hello", shell_output("#{{bin}}/chat-memory --store sqlite:#{{testpath}}/chat.db show trip")
  end
end
"##
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formula_names_each_archive_with_its_checksum_and_refuses_a_missing_one() {
        let sums: String =
            SYSTEMS.iter().enumerate().map(|(n, (.., triple))| format!("{n}{n}  chat-memory-{triple}.tar.gz\n")).collect();
        let text = formula(&sums, "1.2.3", "https://github.com/a/b").expect("whole");
        for (n, (.., triple)) in SYSTEMS.iter().enumerate() {
            let url = format!(
                "url \"https://github.com/a/b/releases/download/v1.2.3/chat-memory-{triple}.tar.gz\"\n      sha256 \"{n}{n}\""
            );
            assert!(text.contains(&url), "{text}");
        }
        let error = formula(sums.lines().next().unwrap_or_default(), "1.2.3", "x").expect_err("three are missing");
        assert!(error.contains("has no chat-memory-x86_64-apple-darwin.tar.gz"), "{error}");
    }
}
