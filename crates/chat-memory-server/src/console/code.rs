//! Code in colour.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use maud::{Markup, html};
use synoptic::{TokOpt, from_extension};

/// The largest block that is coloured, and how much of a page, in bytes.
const LARGEST_BLOCK: usize = 16 * 1024;
const LARGEST_PAGE: usize = 64 * 1024;

/// How much code may still be coloured on a page: a page must not take longer the more code it has.
#[derive(Debug)]
pub(crate) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(LARGEST_PAGE))
    }
}

impl Budget {
    /// Begins another page.
    pub(crate) fn renew(&self) {
        self.0.store(LARGEST_PAGE, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) -> bool {
        bytes <= LARGEST_BLOCK && self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// The file extension by which the library knows a language, for the names that people and models give it.
fn extension(language: &str) -> Option<&'static str> {
    Some(match language.to_ascii_lowercase().as_str() {
        "asm" | "nasm" => "asm",
        "bash" | "console" | "shell" | "sh" | "zsh" => "sh",
        "c" | "h" => "c",
        "c++" | "cc" | "cpp" | "cxx" | "hpp" => "cpp",
        "c#" | "cs" | "csharp" => "cs",
        "css" | "less" | "scss" => "css",
        "csv" => "csv",
        "dart" => "dart",
        "diff" | "patch" => "diff",
        "go" | "golang" => "go",
        "haskell" | "hs" => "hs",
        "html" | "htm" | "vue" | "svelte" => "html",
        "java" => "java",
        "javascript" | "js" | "jsx" | "mjs" | "cjs" | "node" => "js",
        "json" | "json5" | "jsonc" | "jsonl" => "json",
        "kotlin" | "kt" | "kts" => "kt",
        "latex" | "tex" => "tex",
        "lua" => "lua",
        "nu" | "nushell" => "nu",
        "objective-c" | "objectivec" | "objc" | "matlab" => "m",
        "perl" => "pm",
        "php" => "php",
        "prolog" => "prolog",
        "py" | "python" | "python3" => "py",
        "r" => "r",
        "rb" | "ruby" => "rb",
        "rs" | "rust" => "rs",
        "scala" => "scala",
        "sql" | "mysql" | "postgres" | "postgresql" | "sqlite" => "sql",
        "swift" => "swift",
        "toml" | "ini" => "toml",
        "ts" | "tsx" | "typescript" => "ts",
        "vb" => "vb",
        "xml" | "svg" => "xml",
        "yaml" | "yml" => "yaml",
        _ => return None,
    })
}

/// The class of a piece of code by the library's name for it; `None` for what keeps the colour of text.
fn class_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "comment" | "quote" => "c",
        "string" | "character" | "insertion" => "s",
        "keyword" | "boolean" | "tag" | "heading" | "deletion" => "k",
        "digit" => "n",
        "function" | "macro" | "link" => "f",
        "struct" | "namespace" | "attribute" | "key" | "table" | "type" => "t",
        _ => return None,
    })
}

/// Renders code in colour; `None` if the language is not known, or if the code is too long.
pub(crate) fn coloured(code: &str, language: &str, budget: &Budget) -> Option<Markup> {
    let extension = extension(language)?;
    // Tested first, so that unknown languages use nothing up.
    if !budget.take(code.len()) {
        return None;
    }
    let lines: Vec<String> = code.split('\n').map(str::to_owned).collect();
    // It comes from a library that indexes what someone else wrote: a fault there must not cost the page.
    let pieces = catch_unwind(AssertUnwindSafe(|| pieces(&lines, extension))).ok().flatten()?;
    Some(html! {
        @for (n, line) in pieces.iter().enumerate() {
            @if n > 0 { "\n" }
            @for (text, class) in line {
                @match class { Some(class) => span class=(class) { (text) }, None => (text) }
            }
        }
    })
}

type Piece<'a> = (&'a str, Option<&'static str>);

/// Splits each line into pieces with their classes; `None` if the pieces are not the line.
fn pieces<'a>(lines: &'a [String], extension: &str) -> Option<Vec<Vec<Piece<'a>>>> {
    // A tab counts as one character, so that places in its lines are places in ours.
    let mut highlighter = from_extension(extension, 1)?;
    highlighter.run(lines);
    let of_line = |(y, line): (usize, &'a String)| {
        let mut rest = line.as_str();
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        for token in highlighter.line(y, line) {
            let (text, class) = match &token {
                TokOpt::Some(text, kind) => (text, class_of(kind)),
                TokOpt::None(text) => (text, None),
            };
            let end = rest.char_indices().nth(text.chars().count()).map_or(rest.len(), |(at, _)| at);
            let (piece, after) = rest.split_at(end);
            if piece.replace('\t', " ") != text.replace('\t', " ") {
                return None;
            }
            pieces.push((piece, class));
            rest = after;
        }
        rest.is_empty().then_some(pieces)
    };
    lines.iter().enumerate().map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: &str, language: &str) -> Option<String> {
        coloured(code, language, &Budget::default()).map(Markup::into_string)
    }

    /// The text of HTML.
    fn text_of(html: &str) -> String {
        let (mut text, mut is_tag) = (String::new(), false);
        for c in html.chars() {
            match c {
                '<' => is_tag = true,
                '>' if is_tag => is_tag = false,
                c if !is_tag => text.push(c),
                _ => {}
            }
        }
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
    }

    #[test]
    fn code_is_coloured_by_its_language() {
        let python = shown("def total(rows):\n\treturn sum(rows) # all < of \"them\"\n", "Python").expect("a language");
        assert!(python.contains(r#"<span class="k">def</span>"#) && python.contains(r#"<span class="c">"#), "{python}");
        assert!(python.contains("&lt;") && !python.contains("< of"), "{python}");
        let rust = shown("let x = \"a\\\"b\"; // 1", "rust").expect("a language");
        assert!(rust.contains(r#"<span class="k">let</span>"#) && rust.contains(r#"<span class="s">"#), "{rust}");
        assert_eq!(shown("x", "klingon"), None);
    }

    #[test]
    fn coloured_code_is_the_same_text() {
        let odd = "\t\u{0}é👩‍👩‍👧\r\n\"'`/* <b>&amp;</b> */ {{ ''' \"\"\" #{x} f\"{a}\" // \\\n\n-- [[ ]] <!-- --> ${y} `\t\t";
        for language in
            ["asm", "sh", "c", "cpp", "cs", "css", "csv", "dart", "diff", "go", "hs", "html", "java", "js", "json", "kt", "tex"]
                .into_iter()
                .chain([
                    "lua", "nu", "objc", "perl", "php", "prolog", "py", "r", "rb", "rs", "scala", "sql", "swift", "toml", "ts",
                    "vb", "xml",
                ])
                .chain(["yaml"])
        {
            let language = language.to_owned();
            for code in [odd.to_owned(), odd.repeat(20), include_str!("../../assets/console.js").to_owned(), String::new()] {
                let html = shown(&code, &language).unwrap_or_else(|| panic!("{language} is not coloured"));
                assert_eq!(text_of(&html), code, "{language}");
            }
        }
    }

    #[test]
    fn much_code_stays_plain() {
        let budget = Budget::default();
        assert!(coloured(&"x = 1\n".repeat(4_000), "py", &budget).is_none(), "a large block");
        let block = "x = 1\n".repeat(LARGEST_BLOCK / 6);
        let coloured_blocks = (0..10).filter(|_| coloured(&block, "py", &budget).is_some()).count();
        assert_eq!(coloured_blocks, LARGEST_PAGE / block.len(), "a page");
        budget.renew();
        assert!(coloured(&block, "py", &budget).is_some());
    }
}
