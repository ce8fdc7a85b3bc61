//! Bash. clap_complete's own script inserts candidates unquoted, and treats the parts into which readline splits a word at `:` and
//! `=` as words. But a session's id may contain a blank, a `:`, or `$(a command)`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine::complete;
use clap_complete::env::EnvCompleter;

use super::words::{quoted, unquoted};

/// The script joins the words again as the user sees them, also in bash 3.2, which macOS has.
const SCRIPT: &str = r#"_chat_memory() {
    local IFS=$' \t\n' line=$COMP_LINE program=$1 word i last=-1 reply
    local -a words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        # Readline cuts words at : and =, so what follows without a blank is of the word before.
        if ((i > 0)) && [[ $line != [[:space:]]* ]]; then
            words[last]+=$word
        else
            last=$((last + 1))
            words[last]=$word
            line=${line#"${line%%[![:space:]]*}"}
        fi
        line=${line#"$word"}
    done
    type -P -- "$program" >/dev/null || program=PROGRAM
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("$reply")
    done < <(VARIABLE=bash _CHAT_MEMORY_BREAKS=$COMP_WORDBREAKS "$program" -- "${words[@]}" 2>/dev/null)
    # A folder, or the beginning of a value: more follows.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *[/=:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -F _chat_memory NAME
"#;

/// Bash completion.
#[derive(Debug)]
pub struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(&self, variable: &str, _: &str, name: &str, program: &str, to: &mut dyn Write) -> io::Result<()> {
        let script = SCRIPT.replace("VARIABLE", variable).replace("NAME", name).replace("PROGRAM", &quoted(program));
        to.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        here: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let current = words.last().cloned().unwrap_or_default();
        let words: Vec<OsString> = words.iter().map(|word| unquoted(word).into()).collect();
        let at = words.len().saturating_sub(1);
        let breaks = std::env::var("_CHAT_MEMORY_BREAKS").unwrap_or_default();
        let candidates = complete(command, words, at, here)?;
        let candidates: Vec<_> = candidates.iter().map(|candidate| candidate.get_value().to_string_lossy()).collect();
        // Where a value is expected, options are omitted unless the word starts with -.
        let values = candidates.iter().any(|candidate| !candidate.starts_with('-'));
        for candidate in candidates.iter().filter(|candidate| !values || !candidate.starts_with('-')) {
            if let Some(word) = reply(&current, candidate, &breaks) {
                writeln!(to, "{word}")?;
            }
        }
        Ok(())
    }
}

/// What readline inserts in place of the end of the current word: everything after its last break, quoted like the word so far.
/// `None` if that cannot be expressed.
fn reply(current: &OsStr, candidate: &str, breaks: &str) -> Option<String> {
    let current = current.to_string_lossy();
    if let Some(quote) = current.chars().find(|c| matches!(c, '\'' | '"')) {
        // Within quotes readline splits at no break, and closes the quote itself.
        let special: &[char] = if quote == '\'' { &['\''] } else { &['"', '$', '`', '\\', '!'] };
        return (current.starts_with(quote) && !candidate.contains(special)).then(|| candidate.to_owned());
    }
    let is_break = |c: char| matches!(c, ':' | '=') && breaks.contains(c);
    // What is already there before the last break is not replaced.
    let typed = unquoted(current.as_ref().as_ref());
    let kept = typed.rfind(is_break).map_or(0, |at| at + 1);
    candidate.get(kept..).map(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_reply_starts_after_the_last_word_break() {
        let reply = |current: &str, candidate: &str| super::reply(OsStr::new(current), candidate, " :=");
        assert_eq!(reply("us", "user:42").as_deref(), Some("user:42"));
        assert_eq!(reply("user:", "user:42 b").as_deref(), Some("42\\ b"));
        assert_eq!(reply("'user:", "user:42 b").as_deref(), Some("user:42 b"));
        assert_eq!(reply("'it", "it's"), None);
        assert_eq!(reply("x", "x$(touch y)").as_deref(), Some("x\\$\\(touch\\ y\\)"));
    }
}
