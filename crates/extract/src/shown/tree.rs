//! The elements of a page and the texts within them, in page order.
//!
//! The tree is as flat as the page allows: elements and texts are two lists, and an element knows
//! its parent and the texts within it. Strings are parts of the page, so that a page of 10 MiB
//! takes no more than the two lists.

use std::ops::Range;

use crate::markup::{Tag, Token, Tokenizer};

/// Elements that are read of a page. The rest of the page is left out.
const MAX_ELEMENTS: usize = 50_000;

/// Texts that are read of a page.
const MAX_TEXTS: usize = 50_000;

/// Elements that may be open at the same time. Deeper ones belong to the last of these.
const MAX_DEPTH: usize = 512;

/// Bytes of the value of an attribute that are read, which may be for each text within.
const MAX_NAME: usize = 1_000;

/// The longest link that is read.
const MAX_HREF: usize = 4_096;

/// The longest line, in characters.
const MAX_LINE: usize = 500;

/// Bytes of a text that are read as a line.
const MAX_TEXT: usize = 4_000;

/// Bytes within an element that are read as a line.
const MAX_TEXT_OF: usize = 16_000;

/// Elements without content.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];

/// Elements that do not interrupt the line that they are part of.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "data", "del", "em", "font", "i", "ins",
    "label", "mark", "output", "q", "s", "small", "span", "strike", "strong", "sub", "sup", "time",
    "u", "var",
];

/// Elements that a start tag of the same name ends.
const IMPLICITLY_CLOSED: &[&str] = &["dd", "dt", "li", "option", "p", "td", "th", "tr"];

/// Attributes by which pages name the part that an element plays, besides its class and id.
const ROLES: &[&str] = &[
    "itemprop",
    "data-testid",
    "data-test",
    "data-test-id",
    "data-qa",
    "data-cy",
    "data-buy-box-region",
    "data-hook",
    "data-automation",
    "data-component",
    "data-role",
    "data-price-type",
];

/// The tree of a page.
#[derive(Default)]
pub(super) struct Tree<'a> {
    pub(super) elements: Vec<Element<'a>>,
    pub(super) texts: Vec<Text<'a>>,
}

/// An element. Values of attributes are as the page has them, or empty.
pub(super) struct Element<'a> {
    /// The name, in the case of the page.
    pub(super) tag: &'a str,
    pub(super) parent: Option<usize>,
    /// The nearest element, or this one, that is a line of its own.
    pub(super) block: usize,
    pub(super) names: Names<'a>,
    pub(super) href: Option<&'a str>,
    pub(super) style: &'a str,
    pub(super) is_hidden: bool,
    /// Whether an attribute says that it is struck through: `data-strike="true"`.
    pub(super) is_struck: bool,
    /// The elements within, after this one.
    pub(super) end: usize,
    /// The texts within.
    pub(super) texts: Range<usize>,
}

/// What a page calls an element.
#[derive(Clone, Copy, Default)]
pub(super) struct Names<'a> {
    pub(super) class: &'a str,
    pub(super) id: &'a str,
    /// The first of [`ROLES`].
    pub(super) role: &'a str,
    /// The label for screen readers, or the text of an input that is a button or a picture of one.
    pub(super) label: &'a str,
}

impl<'a> Names<'a> {
    /// All but the label.
    pub(super) fn all(&self) -> [&'a str; 3] {
        [self.class, self.id, self.role]
    }
}

/// A text between two tags, never blank. Entities are not decoded.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) element: usize,
}

impl<'a> Tree<'a> {
    /// Reads a page, and calls `on_tag` for every start tag.
    pub(super) fn read(html: &'a str, mut on_tag: impl FnMut(&Tag<'a, '_>)) -> Self {
        let mut tree = Self::default();
        let mut open: Vec<usize> = Vec::new();
        let mut tokenizer = Tokenizer::new(html);
        while let Some(token) = tokenizer.next_token() {
            match token {
                Token::Start(tag) => {
                    on_tag(&tag);
                    if tag.text.is_none() && tree.elements.len() < MAX_ELEMENTS {
                        tree.start(&tag, &mut open);
                    }
                }
                Token::End(name) => tree.end(name, &mut open),
                Token::Text(text) => {
                    let element = open.last().copied();
                    if let Some(element) = element.filter(|_| !text.trim().is_empty())
                        && tree.texts.len() < MAX_TEXTS
                    {
                        tree.texts.push(Text { text, element });
                    }
                }
            }
        }
        while let Some(element) = open.pop() {
            tree.close(element);
        }
        tree
    }

    fn start(&mut self, tag: &Tag<'a, '_>, open: &mut Vec<usize>) {
        let is_one_of = |names: &[&str]| names.iter().any(|name| tag.is(name));
        if is_one_of(IMPLICITLY_CLOSED)
            && open.last().is_some_and(|last| tag.is(self.elements[*last].tag))
        {
            open.pop().into_iter().for_each(|element| self.close(element));
        }
        let index = self.elements.len();
        let parent = open.last().copied();
        let is_inline = is_one_of(INLINE) || tag.name.contains('-');
        let block =
            parent.filter(|_| is_inline).map_or(index, |parent| self.elements[parent].block);
        let mut element = Element::new(tag);
        (element.parent, element.block) = (parent, block);
        (element.end, element.texts) = (index + 1, self.texts.len()..self.texts.len());
        self.elements.push(element);
        if !is_one_of(VOID) && open.len() < MAX_DEPTH {
            open.push(index);
        }
    }

    /// Ends the innermost open element of a name, and the unclosed elements within it.
    fn end(&mut self, name: &str, open: &mut Vec<usize>) {
        let is_it = |element: &usize| self.elements[*element].tag.eq_ignore_ascii_case(name);
        if let Some(at) = open.iter().rposition(is_it) {
            open.drain(at..).for_each(|element| self.close(element));
        }
    }

    fn close(&mut self, element: usize) {
        self.elements[element].end = self.elements.len();
        self.elements[element].texts.end = self.texts.len();
    }

    /// Returns an element and the elements around it, from the inside to the outside.
    pub(super) fn path(&self, element: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(element), |element| self.elements[*element].parent)
    }

    /// Returns the text within an element, as one line with entities decoded.
    pub(super) fn text_of(&self, element: usize) -> String {
        let texts = self.elements[element].texts.clone().take(50);
        let mut left = MAX_TEXT_OF;
        let read = |text: usize| {
            let text = cut(self.texts[text].text, left.min(MAX_TEXT));
            left -= text.len();
            line(text)
        };
        let lines: Vec<String> = texts.map(read).collect();
        crate::text::clean_line(&lines.join(" "), MAX_LINE).unwrap_or_default()
    }
}

/// Returns text as one line with entities decoded.
pub(super) fn line(text: &str) -> String {
    crate::text::clean_line(&htmlize::unescape(cut(text, MAX_TEXT)), MAX_LINE).unwrap_or_default()
}

/// Returns the start of a text.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

impl<'a> Element<'a> {
    fn new(tag: &Tag<'a, '_>) -> Self {
        let mut element = Self {
            tag: tag.name,
            parent: None,
            block: 0,
            names: Names::default(),
            href: None,
            style: "",
            is_hidden: false,
            is_struck: false,
            end: 0,
            texts: 0..0,
        };
        // An element of the page's own is named by its tag: `product-price`.
        if tag.name.contains('-') {
            element.names.role = cut(tag.name, MAX_NAME);
        }
        for &(name, whole) in tag.attributes {
            let value = cut(whole, MAX_NAME);
            match name {
                "class" => element.names.class = value,
                "id" => element.names.id = value,
                "href" => element.href = Some(whole).filter(|href| href.len() <= MAX_HREF),
                "style" => element.style = value,
                "hidden" => element.is_hidden = true,
                _ if name.ends_with("strike") && value == "true" => element.is_struck = true,
                "aria-label" => element.names.label = value,
                "value" | "alt" if tag.is("input") => element.names.label = value,
                _ if element.names.role.is_empty() && ROLES.contains(&name) => {
                    element.names.role = value;
                }
                _ => {}
            }
        }
        element
    }

    /// Whether the tag is one of these, in lower case.
    pub(super) fn is_any(&self, tags: &[&str]) -> bool {
        tags.iter().any(|tag| self.tag.eq_ignore_ascii_case(tag))
    }

    /// Whether a name contains one of these parts, in lower case.
    pub(super) fn has_name(&self, parts: &[&str]) -> bool {
        self.names.all().iter().any(|name| {
            let name = name.to_ascii_lowercase();
            parts.iter().any(|part| name.contains(part))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_know_their_element_and_elements_their_texts() {
        let html = "<ul><li class=a>1<li>2<b>3</b></ul><p hidden>4<br>5</i><script>6</script>";
        let tree = Tree::read(html, |_| {});
        let texts: Vec<_> =
            tree.texts.iter().map(|text| (text.text, tree.elements[text.element].tag)).collect();
        assert_eq!(texts, [("1", "li"), ("2", "li"), ("3", "b"), ("4", "p"), ("5", "p")]);
        assert_eq!(tree.text_of(0), "1 2 3");
        let bold = &tree.elements[3];
        assert_eq!((bold.tag, tree.elements[bold.block].tag), ("b", "li"));
        assert_eq!(tree.path(3).count(), 3);
        assert!(tree.elements[4].is_hidden);
    }

    #[test]
    fn endless_nesting_takes_limited_memory() {
        let html = "<b>x".repeat(200_000);
        let tree = Tree::read(&html, |_| {});
        assert_eq!((tree.elements.len(), tree.texts.len()), (MAX_ELEMENTS, MAX_TEXTS));
        assert_eq!(tree.path(MAX_ELEMENTS - 1).count(), MAX_DEPTH + 1);
    }
}
