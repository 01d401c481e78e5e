//! The start tags of a page, one after the other, without what is around them.
//!
//! This is the tokenizer of HTML, and not its tree: comments, quotes, and the elements whose content is text are told as
//! the standard tells them. It is some ten times faster than a parser that knows which element is open.

use memchr::{memchr, memchr_iter, memmem};

/// Elements whose content is text up to their end tag, with scripting.
const RAW: [&str; 9] = ["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"];

/// How many attributes of a tag are looked at.
const MAX_ATTRIBUTES: usize = 100;

/// The tags of a page from some place on.
pub(crate) struct Tags<'a> {
    html: &'a str,
    at: usize,
    /// Those of the tag that was read last.
    attributes: Vec<(&'a str, &'a str)>,
}

/// A start tag.
pub(crate) struct Tag<'a, 't> {
    /// Where it begins.
    pub(crate) at: usize,
    name: &'a str,
    attributes: &'t [(&'a str, &'a str)],
    /// What stands between it and its end tag, where its element has no content but text.
    pub(crate) text: Option<&'a str>,
}

impl<'a> Tag<'a, '_> {
    /// Whether its element has that name, given in small letters.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of the attribute of that name, entities not decoded. Of several the first counts.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

impl<'a> Tags<'a> {
    pub(crate) fn new(html: &'a str) -> Self {
        Self { html, at: 0, attributes: Vec::new() }
    }

    /// The next start tag. A tag that the page's end cuts off is none.
    pub(crate) fn next(&mut self) -> Option<Tag<'a, '_>> {
        loop {
            let at = self.find(b'<')?;
            let rest = &self.html.as_bytes()[at + 1..];
            self.at = at + 1;
            match rest.first()? {
                b'a'..=b'z' | b'A'..=b'Z' => return self.tag(at),
                // "<!-->" is a whole comment.
                b'!' if rest.starts_with(b"!--") => self.at += 1 + memmem::find(&rest[1..], b"-->")? + "-->".len(),
                // End tags are short: a search costs more than it saves.
                b'/' => _ = self.until(|byte| byte == b'>'),
                b'!' | b'?' => self.at = self.find(b'>')? + 1,
                _ => {}
            }
        }
    }

    fn tag(&mut self, at: usize) -> Option<Tag<'a, '_>> {
        let name = self.until(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
        self.attributes.clear();
        while let Some(attribute) = self.attribute()? {
            if self.attributes.len() < MAX_ATTRIBUTES {
                self.attributes.push(attribute);
            }
        }
        let ends_itself = self.html.as_bytes()[..self.at].ends_with(b"/>");
        let is_raw = RAW.iter().any(|raw| name.eq_ignore_ascii_case(raw));
        // In SVG, and only there, a title and a style may end themselves.
        let ends_itself = ends_itself && ["style", "title"].iter().any(|svg| name.eq_ignore_ascii_case(svg));
        let text = (is_raw && !ends_itself).then(|| self.raw(name));
        Some(Tag { at, name, attributes: &self.attributes, text })
    }

    /// The next attribute, or none where the tag ends. `None` when the page ends within it.
    #[expect(clippy::option_option, reason = "the page's end is not the tag's")]
    fn attribute(&mut self) -> Option<Option<(&'a str, &'a str)>> {
        self.until(|byte| !byte.is_ascii_whitespace() && byte != b'/');
        if self.byte()? == b'>' {
            self.at += 1;
            return Some(None);
        }
        let start = self.at;
        // An equals sign in front is part of the name.
        self.at += usize::from(self.byte()? == b'=');
        self.until(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'='));
        let name = &self.html[start..self.at];
        let end = self.at;
        self.until(|byte| !byte.is_ascii_whitespace());
        if self.byte()? != b'=' {
            self.at = end;
            return Some(Some((name, "")));
        }
        self.at += 1;
        self.until(|byte| !byte.is_ascii_whitespace());
        let quote = self.byte()?;
        let value = if matches!(quote, b'"' | b'\'') {
            self.at += 1;
            let start = self.at;
            let end = self.find(quote)?;
            self.at = end + 1;
            &self.html[start..end]
        } else {
            self.until(|byte| byte.is_ascii_whitespace() || byte == b'>')
        };
        Some(Some((name, value)))
    }

    /// The text up to the end tag of that name, or up to the page's end.
    fn raw(&mut self, name: &str) -> &'a str {
        let rest = &self.html[self.at..];
        let ends = |at: &usize| {
            let tag = rest.as_bytes()[at + 1..].strip_prefix(b"/").and_then(|tag| tag.split_at_checked(name.len()));
            tag.is_some_and(|(own, after)| {
                let is_whole =
                    after.first().is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'));
                is_whole && own.eq_ignore_ascii_case(name.as_bytes())
            })
        };
        let end = memchr_iter(b'<', rest.as_bytes()).find(ends).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn byte(&self) -> Option<u8> {
        self.html.as_bytes().get(self.at).copied()
    }

    fn find(&self, byte: u8) -> Option<usize> {
        memchr(byte, &self.html.as_bytes()[self.at..]).map(|found| self.at + found)
    }

    /// Goes on to the first byte that ends what is passed over, or to the page's end. Ends are ASCII.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.html[self.at..];
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(html: &str) -> String {
        let mut tags = Tags::new(html);
        let mut told = String::new();
        while let Some(tag) = tags.next() {
            told += &format!("{} {}", tag.at, tag.name);
            tag.attributes.iter().for_each(|(name, value)| told += &format!(" {name}={value}"));
            told += &tag.text.map(|text| format!(" [{text}]")).unwrap_or_default();
            told += ";";
        }
        told
    }

    #[test]
    fn tags_are_told_as_the_standard_tells_them() {
        for (html, expected) in [
            ("<p>a<B>", "0 p;4 B;"),
            ("a < b <3 </p x='>'> <i>", "20 i;"),
            ("<a b c = d e=\"f>\" g='h\"' i=/j/ k=>", "0 a b= c=d e=f> g=h\" i=/j/ k=;"),
            ("<a\nb='1'c=2 / d/e/>", "0 a b=1 c=2 d= e=;"),
            ("<a =b==c \"d='e'>", "0 a =b==c \"d=e;"),
            ("<ä><a ä=ö/ü / ß>", "4 a ä=ö/ü ß=;"),
            ("<a/ä>", "0 a ä=;"),
            ("<!-- <a> --><b><!--><c><!---><d><!-- <e>", "12 b;20 c;29 d;"),
            ("<!doctype html><?x?><![CDATA[<a>]]><b>", "35 b;"),
            ("<script a='</script>'>x<b></scripts></SCRIPT ><i>", "0 script a=</script> [x<b></scripts>];46 i;"),
            ("<title>a&amp;<b></title/>", "0 title [a&amp;<b>];"),
            ("<svg><title/><style/><path d=1 />", "0 svg;5 title;13 style;21 path d=1;"),
            ("<noscript><meta></noscript><textarea><a>", "0 noscript [<meta>];27 textarea [<a>];"),
            ("<script src=a /><b></script>", "0 script src=a [<b>];"),
            ("<style>a", "0 style [a];"),
            ("<script><", "0 script [<];"),
        ] {
            assert_eq!(read(html), expected, "{html}");
        }
    }

    #[test]
    fn a_tag_that_is_cut_off_is_none() {
        let html = "<a b = 'c' d=e f>";
        for cut in 0..html.len() {
            assert_eq!(read(&html[..cut]), "", "{cut}");
        }
    }

    #[test]
    fn attributes_beyond_the_limit_are_left_out() {
        let html = format!("<a {}>", "b ".repeat(3 * MAX_ATTRIBUTES));
        assert_eq!(Tags::new(&html).next().map(|tag| tag.attributes.len()), Some(MAX_ATTRIBUTES));
    }
}
