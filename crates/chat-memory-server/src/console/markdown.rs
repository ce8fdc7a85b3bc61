//! Renders untrusted Markdown as passive HTML: raw HTML becomes text, links lead only to the web or to mail addresses, and images
//! are never loaded from elsewhere.

use std::borrow::Cow;

use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::code::{Budget, coloured};

/// The longest text that is rendered as Markdown. A longer one is shown verbatim.
const LONGEST: usize = 100_000;

/// The image types allowed in a page: browsers decode them, and they can contain nothing but pixels.
const IMAGES: [&str; 5] = ["png", "jpeg", "gif", "webp", "avif"];

/// A message's text, with code in colour as far as the page's budget reaches.
pub(crate) fn markdown(text: &str, budget: &Budget) -> Markup {
    if text.len() > LONGEST {
        return html! { pre.text tabindex="0" { (text) } };
    }
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut written = String::with_capacity(text.len() * 3 / 2);
    // Everything that is not escaped comes from `Safe`: it passes on no HTML event of the parser.
    pulldown_cmark::html::push_html(&mut written, Safe { parser: Parser::new_ext(text, options), links: Vec::new(), budget });
    PreEscaped(written)
}

/// An image of a message by its URL, or a link to it.
pub(crate) fn image(url: &str, words: &str) -> Markup {
    if is_image(url) {
        return html! { img src=(url) alt=(if words.is_empty() { "Image" } else { words }); };
    }
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    match web(url) {
        Some(href) => html! { (link(&href)) "Image" (words) (PreEscaped("</a>")) },
        None => html! { "Image" (words) " (" (shortened(url)) ")" },
    }
}

/// The parser's events, each made harmless.
struct Safe<'a> {
    parser: Parser<'a>,
    /// For each open link, what follows it.
    links: Vec<Cow<'static, str>>,
    budget: &'a Budget,
}

impl<'a> Iterator for Safe<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let raw = |html: Markup| Event::InlineHtml(html.into_string().into());
        Some(match self.parser.next()? {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::SoftBreak => Event::HardBreak,
            Event::TaskListMarker(done) => Event::Text(CowStr::Borrowed(if done { "☑ " } else { "☐ " })),
            Event::Start(Tag::HtmlBlock) => raw(html! { (PreEscaped("<p class=\"raw\">")) }),
            Event::End(TagEnd::HtmlBlock) => raw(html! { (PreEscaped("</p>")) }),
            // A page's own headings rank above those of its messages.
            Event::Start(Tag::Heading { level, .. }) => {
                Event::Start(Tag::Heading { level: below(level), id: None, classes: Vec::new(), attrs: Vec::new() })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
            // Alignments would be inline styles.
            Event::Start(Tag::Table(_)) => {
                Event::InlineHtml(r#"<div class="wide" role="region" aria-label="Table" tabindex="0"><table>"#.into())
            }
            Event::End(TagEnd::Table) => Event::InlineHtml("</tbody></table></div>".into()),
            Event::Start(Tag::CodeBlock(kind)) => {
                let (language, code) = (language_of(&kind), self.code());
                let shown = language.and_then(|language| coloured(&code, language, self.budget));
                raw(html! {
                    pre tabindex="0" data-language=[language] {
                        code { @match shown { Some(shown) => (shown), None => (code) } }
                    }
                })
            }
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                let url = if link_type == LinkType::Email { format!("mailto:{dest_url}") } else { dest_url.to_string() };
                let (start, end) = match web(&url) {
                    Some(href) => (link(&href), Cow::Borrowed("</a>")),
                    None => (html! {}, Cow::Owned(html! { " (" (shortened(&url)) ")" }.into_string())),
                };
                self.links.push(end);
                raw(start)
            }
            Event::End(TagEnd::Link) => Event::InlineHtml(self.links.pop().unwrap_or_default().into_owned().into()),
            Event::Start(Tag::Image { dest_url, .. }) => {
                let words = self.words_of_image();
                // Links cannot be nested.
                let within = !self.links.is_empty() && !is_image(&dest_url);
                raw(if within {
                    html! { "Image: " (words) }
                } else {
                    image(&dest_url, &words)
                })
            }
            other => other,
        })
    }
}

impl Safe<'_> {
    /// The text up to the end of the current block of code.
    fn code(&mut self) -> String {
        let mut code = String::new();
        for event in self.parser.by_ref() {
            match event {
                Event::Text(text) => code.push_str(&text),
                Event::End(TagEnd::CodeBlock) => break,
                _ => {}
            }
        }
        code
    }

    /// The text up to the end of the current image.
    fn words_of_image(&mut self) -> String {
        let mut words = String::new();
        let mut open = 1;
        for event in self.parser.by_ref() {
            match event {
                Event::Start(Tag::Image { .. }) => open += 1,
                Event::End(TagEnd::Image) => open -= 1,
                Event::Text(text) | Event::Code(text) | Event::Html(text) | Event::InlineHtml(text) => words.push_str(&text),
                Event::SoftBreak | Event::HardBreak => words.push(' '),
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
        words
    }
}

/// The language that a code block names.
fn language_of<'a>(kind: &'a CodeBlockKind<'_>) -> Option<&'a str> {
    let CodeBlockKind::Fenced(info) = kind else { return None };
    let language = info.split([' ', ',', '{']).next()?;
    let is_name = (1..=30).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'#' | b'-' | b'.' | b'_'));
    is_name.then_some(language)
}

fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

/// The address of a link that may be followed.
fn web(url: &str) -> Option<String> {
    let parsed = url::Url::parse(url).ok()?;
    matches!(parsed.scheme(), "http" | "https" | "mailto").then(|| parsed.into())
}

fn link(href: &str) -> Markup {
    let whole = html! { a href=(href) target="_blank" rel="noopener noreferrer" {} }.into_string();
    // The closing tag follows after the link's text.
    PreEscaped(whole.trim_end_matches("</a>").to_owned())
}

fn is_image(url: &str) -> bool {
    let data = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and_then(|_| url.get(5..));
    let kind = data.and_then(|data| data.split([';', ',']).next()).and_then(|kind| kind.trim().split_once('/'));
    kind.is_some_and(|(image, kind)| {
        image.eq_ignore_ascii_case("image") && IMAGES.iter().any(|known| kind.eq_ignore_ascii_case(known))
    })
}

fn shortened(url: &str) -> Cow<'_, str> {
    const MOST: usize = 120;
    match url.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &url[..end]).into(),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        markdown(text, &Budget::default()).into_string()
    }

    #[test]
    fn markdown_is_rendered() {
        let text = shown(
            "# Title\n\n*soft* **hard** `code`\n\n- one\n- [x] two\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n```rust\nlet x = 1 < 2;\n```",
        );
        for part in ["<h3>Title</h3>", "<em>soft</em>", "<strong>hard</strong>", "<code>code</code>", "<li>one</li>", "☑ two"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("<td>2</td>") && text.contains("<span class=\"k\">let</span> x = "), "{text}");
        assert!(text.contains("<pre tabindex=\"0\" data-language=\"rust\"><code>"), "{text}");
        assert!(shown("```<b>\nx\n```").contains("<pre tabindex=\"0\"><code>"), "only what can name a language is one");
        assert!(!text.contains("style="), "{text}");
        assert!(shown("one\ntwo").contains("<br"), "a line is a line");
    }

    #[test]
    fn raw_html_is_escaped() {
        for text in [
            "<script>alert(1)</script>",
            "a <b onclick=\"x()\">b</b>",
            "<img src=x onerror=alert(1)>",
            "<!-- --><style>*{display:none}</style>",
            "<svg/onload=alert(1)>",
            "- <iframe src='https://example.org'></iframe>",
            "| a |\n|---|\n| <script>x</script> |",
            "![<script>x</script>](javascript:alert(1))",
            "[<script>x</script>](https://example.org)",
            "```<script>\n</code></pre><script>\n```",
        ] {
            let html = shown(text);
            for tag in ["<script", "<b ", "<img", "<style", "<svg", "<iframe"] {
                assert!(!html.contains(tag), "{text}: {html}");
            }
        }
        assert!(shown("<script>alert(1)</script>").contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    #[test]
    fn only_web_and_mail_links_are_rendered() {
        let html = shown("[a](https://example.org/?q=\"1\"&b=<2>) <me@example.org> [m](mailto:a@b.c)");
        assert_eq!(html.matches("rel=\"noopener noreferrer\"").count(), 3, "{html}");
        assert!(html.contains("href=\"mailto:me@example.org\""), "{html}");
        for bad in [
            "[a](javascript:alert(1))",
            "[a](JaVaScRiPt:alert(1))",
            "[a](java\tscript:alert(1))",
            "[a](&#106;avascript:alert(1))",
            "[a](data:text/html;base64,PHNjcmlwdD4=)",
            "[a](vbscript:x)",
            "[a](/console/logout)",
            "[a](//example.org)",
            "<javascript:alert(1)>",
            "[a][r]\n\n[r]: javascript:alert(1)",
        ] {
            assert!(!shown(bad).contains("<a "), "{bad}: {}", shown(bad));
        }
        assert!(shown("[a](javascript:alert(1))").contains("a (javascript:alert(1))"), "what is no link is said");
    }

    #[test]
    fn only_inline_data_images_are_rendered() {
        let html = shown("![a cat](data:image/png;base64,iVBORw0KGgo=)");
        assert!(html.contains("<img src=\"data:image/png;base64,iVBORw0KGgo=\" alt=\"a cat\""), "{html}");
        for bad in [
            "![a](https://example.org/a.png)",
            "![a](data:image/svg+xml,<svg/>)",
            "![a](data:text/html,x)",
            "![a](/console/assets/0/icon.svg)",
            "![![a](data:image/png;base64,AA==)](https://example.org/a.png)",
        ] {
            assert!(!shown(bad).contains("<img"), "{bad}: {}", shown(bad));
        }
        assert!(shown("![a](https://example.org/a.png)").contains("<a href=\"https://example.org/a.png\""));
    }

    #[test]
    fn overlong_text_is_shown_as_plain_text() {
        let text = "*x* ".repeat(LONGEST);
        assert!(shown(&text).contains(&text));
    }
}
