//! Colours Markdown on a terminal while it streams in. The text stays as it is, marks included, so that what is copied from the screen is
//! what the model wrote; only colours are added. A parser of whole documents cannot do that: a paragraph has a colour before it ends.

/// What a character belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Block {
    #[default]
    Text,
    Heading,
    Quote,
    /// A list's bullet or number, a fence.
    Mark,
    Code,
}

/// The look of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    block: Block,
    strong: bool,
    emphasis: bool,
}

impl Look {
    /// The parameters of the escape sequence; empty for plain text.
    fn codes(self) -> String {
        let mut codes = match self.block {
            Block::Text => vec![],
            Block::Heading => vec!["1", "35"],
            Block::Quote => vec!["2"],
            Block::Mark => vec!["36"],
            Block::Code => vec!["33"],
        };
        if self.strong && self.block != Block::Heading {
            codes.push("1");
        }
        if self.emphasis {
            codes.push("3");
        }
        codes.join(";")
    }
}

/// A block of code: what its fence consists of, and of how many.
#[derive(Debug, Clone, Copy)]
struct Fence(char, usize);

/// Takes text in pieces, and returns it with colours.
#[derive(Debug, Default)]
pub struct Highlighter {
    /// Text whose look depends on what follows.
    held: String,
    /// Whether the start of the line is decided.
    in_line: bool,
    fence: Option<Fence>,
    /// The look of the line's text, outside of code.
    look: Look,
    /// The number of backticks that began the code within the line.
    code: usize,
    before: Option<char>,
    /// The look that the terminal has now.
    shown: Look,
}

impl Highlighter {
    /// Returns as much of the text so far as is decided.
    pub fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        self.take(false)
    }

    /// Returns the rest, and ends all colours.
    pub fn end(&mut self) -> String {
        let mut out = self.take(true);
        self.show(&mut out, Look::default());
        *self = Self::default();
        out
    }

    fn take(&mut self, is_end: bool) -> String {
        let text = std::mem::take(&mut self.held);
        let (mut out, mut rest) = (String::with_capacity(text.len() + 16), text.as_str());
        while let Some(c) = rest.chars().next() {
            let taken = if c == '\n' {
                self.end_line(&mut out);
                Some(1)
            } else if !self.in_line {
                self.start_line(&mut out, rest, is_end)
            } else if matches!(c, '*' | '_' | '`') && self.fence.is_none() {
                self.mark(&mut out, rest, c, is_end)
            } else {
                let look = self.current();
                self.put(&mut out, look, &rest[..c.len_utf8()]);
                Some(c.len_utf8())
            };
            let Some(taken) = taken else { break };
            rest = &rest[taken..];
        }
        self.held = rest.to_owned();
        out
    }

    fn current(&self) -> Look {
        if self.fence.is_some() || self.code > 0 { Look { block: Block::Code, ..Look::default() } } else { self.look }
    }

    fn put(&mut self, out: &mut String, look: Look, text: &str) {
        self.show(out, look);
        out.push_str(text);
        self.before = text.chars().next_back();
    }

    fn show(&mut self, out: &mut String, look: Look) {
        if self.shown == look {
            return;
        }
        let codes = look.codes();
        out.push_str(&if codes.is_empty() { "\u{1b}[0m".to_owned() } else { format!("\u{1b}[0;{codes}m") });
        self.shown = look;
    }

    /// Emphasis and code that are still open were none: they end with the line.
    fn end_line(&mut self, out: &mut String) {
        self.show(out, Look::default());
        out.push('\n');
        (self.in_line, self.look, self.code, self.before) = (false, Look::default(), 0, None);
    }

    /// Takes what is at the start of a line; `None` if it is not decided yet.
    fn start_line(&mut self, out: &mut String, text: &str, is_end: bool) -> Option<usize> {
        let line = text.split('\n').next().unwrap_or_default();
        let is_whole = is_end || line.len() < text.len();
        let (mark, decided) = leading_mark(line);
        if !decided && !is_whole {
            return None;
        }
        self.in_line = true;
        let indent = line.len() - line.trim_start_matches(' ').len();
        match (mark, self.fence) {
            (Some(Mark::Fence(c, n)), None) => {
                // What follows the fence, such as a language, belongs to it.
                if !is_whole {
                    self.in_line = false;
                    return None;
                }
                // With more backticks, it is code within a line.
                if c == '`' && line[indent + n..].contains('`') {
                    return Some(0);
                }
                self.put(out, Look { block: Block::Mark, ..Look::default() }, line);
                self.fence = Some(Fence(c, n));
                Some(line.len())
            }
            (Some(Mark::Fence(c, n)), Some(Fence(open, least))) if c == open && n >= least => {
                if !is_whole {
                    self.in_line = false;
                    return None;
                }
                let closes = line.trim().chars().all(|other| other == c);
                let block = if closes { Block::Mark } else { Block::Code };
                self.put(out, Look { block, ..Look::default() }, line);
                self.fence = self.fence.filter(|_| !closes);
                Some(line.len())
            }
            (Some(Mark::Heading), None) => {
                self.look.block = Block::Heading;
                Some(0)
            }
            (Some(Mark::Quote), None) => {
                self.look.block = Block::Quote;
                Some(0)
            }
            (Some(Mark::Item(length)), None) => {
                self.put(out, Look { block: Block::Mark, ..Look::default() }, &line[..length]);
                Some(length)
            }
            _ => Some(0),
        }
    }

    /// Takes a run of `*`, `_` or backticks; `None` if what follows decides and is not there yet.
    fn mark(&mut self, out: &mut String, text: &str, c: char, is_end: bool) -> Option<usize> {
        let n = text.chars().take_while(|next| *next == c).count();
        let next = text[n..].chars().next();
        if next.is_none() && !is_end {
            return None;
        }
        let run = &text[..n];
        if c == '`' {
            let code = Look { block: Block::Code, ..Look::default() };
            match self.code {
                0 => self.code = n,
                open if open == n => self.code = 0,
                _ => {}
            }
            self.put(out, code, run);
            return Some(n);
        }
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        // snake_case is no emphasis.
        let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let escaped = self.before == Some('\\');
        let may_open = !escaped && !is_space(next) && (c == '*' || !joins(self.before));
        let may_close = !escaped && !is_space(self.before) && (c == '*' || !joins(next));
        let (emphasis, strong) = (n != 2, n >= 2);
        let before = self.look;
        if self.code == 0 && n <= 3 {
            let is_open = (!emphasis || self.look.emphasis) && (!strong || self.look.strong);
            if is_open && may_close {
                (self.look.emphasis, self.look.strong) = (self.look.emphasis && !emphasis, self.look.strong && !strong);
            } else if may_open {
                (self.look.emphasis, self.look.strong) = (self.look.emphasis || emphasis, self.look.strong || strong);
            }
        }
        // The marks look like what is between them.
        let look = if before.strong || before.emphasis { before } else { self.current() };
        let look = if self.code > 0 { self.current() } else { look };
        self.put(out, look, run);
        Some(n)
    }
}

enum Mark {
    Fence(char, usize),
    Heading,
    Quote,
    /// The length of the bullet or number, with the blanks before it.
    Item(usize),
}

/// The mark at the start of a line, and whether more of the line cannot change it.
fn leading_mark(line: &str) -> (Option<Mark>, bool) {
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let Some(c) = text.chars().next() else { return (None, false) };
    let n = text.chars().take_while(|next| *next == c).count();
    let after = text[n * c.len_utf8()..].chars().next();
    match c {
        '`' | '~' if n >= 3 => (Some(Mark::Fence(c, n)), after.is_some()),
        '`' | '~' => (None, after.is_some()),
        '#' if n <= 6 => (after.filter(|next| *next == ' ').map(|_| Mark::Heading), after.is_some()),
        '>' => (Some(Mark::Quote), true),
        '-' | '*' | '+' if n == 1 => (after.filter(|next| *next == ' ').map(|_| Mark::Item(indent + 1)), after.is_some()),
        '0'..='9' => {
            let digits = text.chars().take_while(char::is_ascii_digit).count();
            let mut rest = text[digits..].chars();
            match (rest.next(), rest.next()) {
                (Some('.' | ')'), Some(' ')) if digits <= 9 => (Some(Mark::Item(indent + digits + 1)), true),
                (None, _) | (Some('.' | ')'), None) if digits <= 9 => (None, false),
                _ => (None, true),
            }
        }
        _ => (None, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with `<` and the look's codes where it changes.
    fn coloured(text: &str) -> String {
        let mut highlighter = Highlighter::default();
        let out = highlighter.push(text) + &highlighter.end();
        out.replace("\u{1b}[0;", "<").replace("\u{1b}[0m", "<>")
    }

    const SAMPLE: &str = "# Head *ing*\n\nA **bold** and *slanted* and ***both*** word, `a *b*` and ``c`d``.\n\
        - one\n  * two_three_four\n12. f(*args) 2 * 3\n> quoted **too**\n```rust\nlet a = \"*b*\"; // `c`\n````\n```\nafter \\*x\\* ~~~ #no\n\
        ~~~\n```\n~~~\n#tag\n2024 was\n- \n`open\n**open\n日本 **語** 👍";

    fn stripped(text: &str) -> String {
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
    }

    #[test]
    fn only_colours_are_added() {
        let mut highlighter = Highlighter::default();
        let out = highlighter.push(SAMPLE) + &highlighter.end();
        assert_eq!(stripped(&out), SAMPLE);
        assert!(out.contains('\u{1b}'));
    }

    #[test]
    fn colours_do_not_depend_on_the_pieces() {
        let mut highlighter = Highlighter::default();
        let whole = highlighter.push(SAMPLE) + &highlighter.end();
        let chars: Vec<String> = SAMPLE.chars().map(String::from).collect();
        for size in 1..7 {
            let mut out: String = chars.chunks(size).map(|piece| highlighter.push(&piece.concat())).collect();
            out += &highlighter.end();
            assert_eq!(out, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn marks_and_what_they_hold_have_a_look() {
        assert_eq!(coloured("a **b** c"), "a <1m**b**<> c");
        assert_eq!(coloured("a `b*c*`"), "a <33m`b*c*`<>");
        assert_eq!(coloured("# T\nx"), "<1;35m# T<>\nx");
        assert_eq!(coloured("- x"), "<36m-<> x");
        assert_eq!(coloured("```sh\nls *\n```\nx"), "<36m```sh<>\n<33mls *<>\n<36m```<>\nx");
    }

    #[test]
    fn what_is_no_markdown_has_no_look() {
        for text in ["snake_case_name", "2 * 3 * 4", "\\*x\\*", "#tag", "2024 was", "-x", "a\n\nb"] {
            assert_eq!(coloured(text), text);
        }
        assert_eq!(coloured("*open\nnext"), "<3m*open<>\nnext", "it ends with its line");
    }

    #[test]
    fn text_is_returned_as_it_arrives() {
        let mut highlighter = Highlighter::default();
        assert_eq!(highlighter.push("Hel"), "Hel");
        assert_eq!(highlighter.push("lo *"), "lo ");
        assert_eq!(highlighter.push("you"), "\u{1b}[0;3m*you");
    }
}
