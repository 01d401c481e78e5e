//! A tokenizer for the tags of a page, without a tree of elements.
//!
//! It treats comments, quotes and elements of raw text as the HTML standard does. It is about ten
//! times faster than a parser that knows which elements are open.

use memchr::{memchr, memchr_iter};

/// Elements whose content is text up to their end tag, if scripting is enabled. `is_raw` knows
/// their initials.
const RAW: [&str; 9] =
    ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"];

/// The only such element of a [`Tokenizer::prescan`].
const RAW_IN_PRESCAN: [&str; 1] = ["script"];

/// The kinds of bytes that separate the parts of a tag.
const SPACE: u8 = 1;
const SLASH: u8 = 2;
const EQUALS: u8 = 4;
const END: u8 = 8;

/// The kind of each byte; 0 for most.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_whitespace() {
            kinds[byte] = SPACE;
        }
        byte += 1;
    }
    kinds[b'/' as usize] = SLASH;
    kinds[b'=' as usize] = EQUALS;
    kinds[b'>' as usize] = END;
    kinds
};

/// Attributes of a tag that are read.
const MAX_ATTRIBUTES: usize = 100;

/// Reads the start tags of a page in order, or all of its tokens.
pub(crate) struct Tokenizer<'a> {
    html: &'a str,
    at: usize,
    /// Elements whose content is text.
    raw: &'static [&'static str],
    /// The attributes of the last tag.
    attributes: Vec<(&'a str, &'a str)>,
}

/// A start tag.
pub(crate) struct Tag<'a, 't> {
    /// Offset of its `<` in the page.
    pub(crate) offset: usize,
    pub(crate) name: &'a str,
    /// Names and values as the page has them. Entities are not decoded.
    pub(crate) attributes: &'t [(&'a str, &'a str)],
    /// The text up to its end tag, for elements of raw text.
    pub(crate) text: Option<&'a str>,
}

/// A part of a page. Comments and declarations are left out.
pub(crate) enum Token<'a, 't> {
    Start(Tag<'a, 't>),
    /// The name of an end tag.
    End(&'a str),
    /// Text between tags. Entities are not decoded.
    Text(&'a str),
}

impl<'a> Tag<'a, '_> {
    /// Whether the tag has this name, in upper or lower case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Returns the value of the first attribute of this name. Entities are not decoded.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}

impl<'a> Tokenizer<'a> {
    pub(crate) fn new(html: &'a str) -> Self {
        Self { html, at: 0, raw: &RAW, attributes: Vec::new() }
    }

    /// Reads as browsers do when they search the first bytes for a charset: the tags in a
    /// `noscript`, a `title` and the like are tags. Those in scripts are text here, too.
    pub(crate) fn prescan(html: &'a str) -> Self {
        Self { raw: &RAW_IN_PRESCAN, ..Self::new(html) }
    }

    /// Returns the next start tag. A tag that the end of the page cuts off is skipped.
    pub(crate) fn next(&mut self) -> Option<Tag<'a, '_>> {
        loop {
            let at = self.find(b'<')?;
            let rest = &self.html.as_bytes()[at + 1..];
            self.at = at + 1;
            match rest.first()? {
                b'a'..=b'z' | b'A'..=b'Z' => return self.tag(at),
                b'!' if rest.starts_with(b"!--") => self.at += comment_end(rest)?,
                b'/' => self.at = self.end_of_run(self.at, |kind| kind & END == 0),
                b'!' | b'?' => self.at = self.find(b'>')? + 1,
                _ => {}
            }
        }
    }

    /// Returns the next token. Ends at a tag that the end of the page cuts off.
    pub(crate) fn next_token(&mut self) -> Option<Token<'a, '_>> {
        loop {
            let start = self.at;
            let end = self.find(b'<').unwrap_or(self.html.len());
            if end > start {
                self.at = end;
                return Some(Token::Text(&self.html[start..end]));
            }
            let rest = self.html.as_bytes().get(start + 1..)?;
            self.at = start + 1;
            match rest.first()? {
                b'a'..=b'z' | b'A'..=b'Z' => return self.tag(start).map(Token::Start),
                b'!' if rest.starts_with(b"!--") => self.at += comment_end(rest)?,
                b'/' => {
                    self.at += 1;
                    let name = self.run_without(SPACE | END);
                    self.at = self.find(b'>')? + 1;
                    return Some(Token::End(name));
                }
                b'!' | b'?' => self.at = self.find(b'>')? + 1,
                _ => return Some(Token::Text("<")),
            }
        }
    }

    fn tag(&mut self, offset: usize) -> Option<Tag<'a, '_>> {
        let name = self.run_without(SPACE | SLASH | END);
        self.attributes.clear();
        while let Some(attribute) = self.attribute()? {
            if self.attributes.len() < MAX_ATTRIBUTES {
                self.attributes.push(attribute);
            }
        }
        let text = self.is_raw(name).then(|| self.raw_text(name));
        Some(Tag { offset, name, attributes: &self.attributes, text })
    }

    /// Whether the content of the last tag is text.
    fn is_raw(&self, name: &str) -> bool {
        let is_any_of = |names: &[&str]| names.iter().any(|one| name.eq_ignore_ascii_case(one));
        // The initials of most tags are others.
        let may_be_raw = matches!(name.as_bytes()[0] | 0x20, b'i' | b'n' | b's' | b't' | b'x');
        if !may_be_raw || !is_any_of(self.raw) {
            return false;
        }
        // In SVG, and only there, `title` and `style` may be self-closing.
        let is_self_closing = self.html.as_bytes()[..self.at].ends_with(b"/>");
        !(is_self_closing && is_any_of(&["style", "title"]))
    }

    /// Returns the next attribute, or `Some(None)` at the end of the tag. Returns `None` if the
    /// page ends within the tag.
    #[expect(clippy::option_option, reason = "the end of the page differs from the end of the tag")]
    fn attribute(&mut self) -> Option<Option<(&'a str, &'a str)>> {
        self.skip(SPACE | SLASH);
        if self.byte()? == b'>' {
            self.at += 1;
            return Some(None);
        }
        let start = self.at;
        // A leading equals sign is part of the name.
        self.at += usize::from(self.byte()? == b'=');
        self.run_without(SPACE | SLASH | EQUALS | END);
        let name = &self.html[start..self.at];
        let end = self.at;
        self.skip(SPACE);
        if self.byte()? != b'=' {
            self.at = end;
            return Some(Some((name, "")));
        }
        self.at += 1;
        self.skip(SPACE);
        let quote = self.byte()?;
        let value = if matches!(quote, b'"' | b'\'') {
            self.at += 1;
            let start = self.at;
            let end = self.find(quote)?;
            self.at = end + 1;
            &self.html[start..end]
        } else {
            self.run_without(SPACE | END)
        };
        Some(Some((name, value)))
    }

    /// Returns the text up to the end tag of this name, or up to the end of the page.
    fn raw_text(&mut self, name: &str) -> &'a str {
        let rest = &self.html[self.at..];
        let is_end_tag = |at: &usize| {
            let tag = rest.as_bytes()[at + 1..]
                .strip_prefix(b"/")
                .and_then(|tag| tag.split_at_checked(name.len()));
            tag.is_some_and(|(own, after)| {
                let is_whole = after
                    .first()
                    .is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
                is_whole && own.eq_ignore_ascii_case(name.as_bytes())
            })
        };
        let end = memchr_iter(b'<', rest.as_bytes()).find(is_end_tag).unwrap_or(rest.len());
        let is_script = name.eq_ignore_ascii_case("script");
        let end = if is_script { script_end(rest.as_bytes(), end) } else { end };
        self.at += end;
        &rest[..end]
    }

    fn byte(&self) -> Option<u8> {
        self.html.as_bytes().get(self.at).copied()
    }

    fn find(&self, byte: u8) -> Option<usize> {
        memchr(byte, &self.html.as_bytes()[self.at..]).map(|found| self.at + found)
    }

    /// Skips bytes of these kinds.
    fn skip(&mut self, kinds: u8) {
        self.at = self.end_of_run(self.at, |kind| kind & kinds != 0);
    }

    /// Skips to the first byte of these kinds, or to the end of the page, and returns what it
    /// skipped.
    fn run_without(&mut self, kinds: u8) -> &'a str {
        let start = self.at;
        self.at = self.end_of_run(start, |kind| kind & kinds == 0);
        &self.html[start..self.at]
    }

    /// Most runs are short, so that a plain loop is faster than memchr.
    fn end_of_run(&self, start: usize, is_inside: impl Fn(u8) -> bool) -> usize {
        let rest = &self.html.as_bytes()[start..];
        let length = rest.iter().position(|&byte| !is_inside(KINDS[usize::from(byte)]));
        start + length.unwrap_or(rest.len())
    }
}

/// The end of a script, given its first end tag. That tag does not count where it ends a script
/// within a comment of the script (WHATWG HTML, "script data double escaped state").
fn script_end(rest: &[u8], first_end: usize) -> usize {
    let is_tag = |at: usize, tag: &[u8]| {
        let after = rest[at..].split_at_checked(tag.len());
        after.is_some_and(|(own, after)| {
            let is_whole = after
                .first()
                .is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
            is_whole && own.eq_ignore_ascii_case(tag)
        })
    };
    let Some(comment) = memchr::memmem::find(&rest[..first_end], b"<!--") else { return first_end };
    let (mut is_comment, mut is_script) = (false, false);
    for at in memchr::memchr2_iter(b'<', b'>', &rest[comment..]).map(|at| comment + at) {
        if rest[at] == b'>' {
            // The dashes of `<!-->` also end the comment.
            if rest[..at].ends_with(b"--") {
                (is_comment, is_script) = (false, false);
            }
        } else if rest[at..].starts_with(b"<!--") {
            is_comment = true;
        } else if is_tag(at, b"</script") {
            if !is_script {
                return at;
            }
            is_script = false;
        } else if is_comment && is_tag(at, b"<script") {
            is_script = true;
        }
    }
    rest.len()
}

/// The end of a comment that starts with `!--`.
fn comment_end(comment: &[u8]) -> Option<usize> {
    // "!-->" and "!--->" are complete comments.
    let is_end = |at: &usize| {
        let before = &comment[..*at];
        *at > 2 && before.ends_with(b"--") || *at > 5 && before.ends_with(b"--!")
    };
    memchr_iter(b'>', comment).find(is_end).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(html: &str) -> String {
        let mut tokenizer = Tokenizer::new(html);
        let mut tags = String::new();
        while let Some(tag) = tokenizer.next() {
            tags += &format!("{} {}", tag.offset, tag.name);
            tag.attributes.iter().for_each(|(name, value)| tags += &format!(" {name}={value}"));
            tags += &tag.text.map(|text| format!(" [{text}]")).unwrap_or_default();
            tags += ";";
        }
        tags
    }

    #[test]
    fn tags_are_read_as_the_standard_says() {
        for (html, expected) in [
            ("<p>a<B>", "0 p;4 B;"),
            ("a < b <3 </p x='>'> <i>", "20 i;"),
            ("<a b c = d e=\"f>\" g='h\"' i=/j/ k=>", "0 a b= c=d e=f> g=h\" i=/j/ k=;"),
            ("<a\nb='1'c=2 / d/e/>", "0 a b=1 c=2 d= e=;"),
            ("<a =b==c \"d='e'>", "0 a =b==c \"d=e;"),
            ("<ä><a ä=ö/ü / ß>", "4 a ä=ö/ü ß=;"),
            ("<a/ä>", "0 a ä=;"),
            ("<!-- <a> --><b><!--><c><!---><d><!-- <e>", "12 b;20 c;29 d;"),
            ("<!-- <a> --!><b><!--!><a> --><c><!----!><d><!---!><a>-->", "13 b;29 c;40 d;"),
            ("<!doctype html><?x?><![CDATA[<a>]]><b>", "35 b;"),
            (
                "<script a='</script>'>x<b></scripts></SCRIPT ><i>",
                "0 script a=</script> [x<b></scripts>];46 i;",
            ),
            ("<title>a&amp;<b></title/>", "0 title [a&amp;<b>];"),
            ("<svg><title/><style/><path d=1 />", "0 svg;5 title;13 style;21 path d=1;"),
            ("<noscript><meta></noscript><textarea><a>", "0 noscript [<meta>];27 textarea [<a>];"),
            ("<script src=a /><b></script>", "0 script src=a [<b>];"),
            ("<style>a", "0 style [a];"),
            ("<script><", "0 script [<];"),
            // A script in a comment of a script.
            (
                "<script><!-- <script> </script> <a> --></script><b>",
                "0 script [<!-- <script> </script> <a> -->];48 b;",
            ),
            (
                "<script><!-- <script></script></SCRIPT><b>",
                "0 script [<!-- <script></script>];39 b;",
            ),
            ("<script><!-- <script> --></script><b>", "0 script [<!-- <script> -->];34 b;"),
            ("<script><!--><script></script><b>", "0 script [<!--><script>];30 b;"),
            ("<script><!-- </script><b>", "0 script [<!-- ];22 b;"),
            ("<script><!-- <scripts></script><b>", "0 script [<!-- <scripts>];31 b;"),
            ("<script><script><!-- </script><b>", "0 script [<script><!-- ];30 b;"),
            ("<script><!-- <script></script><b>", "0 script [<!-- <script></script><b>];"),
            ("<style><!-- <style></style><b>", "0 style [<!-- <style>];27 b;"),
        ] {
            assert_eq!(read(html), expected, "{html}");
        }
    }

    #[test]
    fn the_content_of_each_raw_element_is_text() {
        for name in RAW {
            let html = format!("<{name}><b></{}>", name.to_uppercase());
            assert_eq!(read(&html), format!("0 {name} [<b>];"));
        }
    }

    #[test]
    fn tokens_are_tags_and_the_text_between_them() {
        let html = "a<!--b--><p class=c>d &lt; 1 < 2</p ><script>e<f></script><br/>g<?h?>i</";
        let mut tokenizer = Tokenizer::new(html);
        let mut tokens = Vec::new();
        while let Some(token) = tokenizer.next_token() {
            tokens.push(match token {
                Token::Start(tag) => format!("<{} {}", tag.name, tag.text.unwrap_or_default()),
                Token::End(name) => format!("/{name}"),
                Token::Text(text) => text.to_owned(),
            });
        }
        let expected =
            ["a", "<p ", "d &lt; 1 ", "<", " 2", "/p", "<script e<f>", "/script", "<br ", "g", "i"];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn a_tag_that_is_cut_off_is_skipped() {
        let html = "<a b = 'c' d=e f>";
        for cut in 0..html.len() {
            assert_eq!(read(&html[..cut]), "", "{cut}");
        }
    }

    #[test]
    fn attributes_above_the_limit_are_left_out() {
        let html = format!("<a {}>", "b ".repeat(3 * MAX_ATTRIBUTES));
        let attributes = Tokenizer::new(&html).next().map(|tag| tag.attributes.len());
        assert_eq!(attributes, Some(MAX_ATTRIBUTES));
    }
}
