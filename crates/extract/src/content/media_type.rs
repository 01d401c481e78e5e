//! The field `Content-Type`, as the WHATWG's standards "MIME Sniffing" and "Fetch" read it.

/// A media type.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MediaType {
    /// Type and subtype in lower case, without parameters. Empty if there is none.
    pub(super) essence: String,
    /// The label of the first parameter `charset`.
    pub(super) charset: Option<String>,
}

impl MediaType {
    /// Reads the field. Of several types, the last one counts; it inherits the charset of an equal
    /// type before it.
    pub(super) fn parse(field: &str) -> Self {
        let mut last = Self::default();
        for value in split_outside_quotes(field, ',') {
            let Some(mut next) = Self::parse_one(value) else { continue };
            if next.charset.is_none() && next.essence == last.essence {
                next.charset = last.charset;
            }
            last = next;
        }
        last
    }

    fn parse_one(value: &str) -> Option<Self> {
        let mut parts = split_outside_quotes(value, ';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() || essence == "*/*" {
            return None;
        }
        let charset = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| unquote(value.trim()))
        });
        Some(Self { essence, charset })
    }
}

/// Splits a text at a separator that is not within double quotes.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted => is_escaped = !was_escaped,
            _ => {}
        }
        c == separator && !is_quoted
    })
}

/// Removes quotes and escapes. Single quotes are not part of the syntax, but some servers send
/// them.
fn unquote(value: &str) -> String {
    match value.strip_prefix('"') {
        Some(quoted) => {
            let end = quoted.find('"').unwrap_or(quoted.len());
            quoted[..end].chars().filter(|c| *c != '\\').collect()
        }
        None => value.trim_matches('\'').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parameter_named_charset_is_the_charset() {
        for (field, essence, charset) in [
            ("text/html", "text/html", None),
            ("Text/HTML;charset=UTF-8", "text/html", Some("UTF-8")),
            ("text/html; CharSet = koi8-r ; x", "text/html", Some("koi8-r")),
            ("text/html; charset=\"koi8-r\"", "text/html", Some("koi8-r")),
            ("text/html; charset='koi8-r'", "text/html", Some("koi8-r")),
            ("text/html; charset=\"ko\\i8-r", "text/html", Some("koi8-r")),
            ("text/html; accept-charset=gbk; charset=koi8-r", "text/html", Some("koi8-r")),
            ("text/html; profile=\"a;charset=gbk\";charset=koi8-r", "text/html", Some("koi8-r")),
            ("text/html; profile=charset=gbk", "text/html", None),
            ("text/html; x-charset=gbk", "text/html", None),
            ("text/html; charset=koi8-r; charset=gbk", "text/html", Some("koi8-r")),
            ("text/html; charset", "text/html", None),
            ("", "", None),
            ("html; charset=gbk", "", None),
            ("/html", "", None),
            ("*/*", "", None),
        ] {
            let read = MediaType::parse(field);
            assert_eq!((&*read.essence, read.charset.as_deref()), (essence, charset), "{field}");
        }
    }

    #[test]
    fn of_several_types_the_last_one_counts() {
        for (field, essence, charset) in [
            ("text/plain;charset=gbk, text/html", "text/html", None),
            ("text/html;charset=gbk, text/html", "text/html", Some("gbk")),
            ("text/html;charset=gbk, text/html;charset=koi8-r", "text/html", Some("koi8-r")),
            ("text/html;charset=gbk, x, */*", "text/html", Some("gbk")),
            ("text/html;a=\"x/y,\";charset=gbk", "text/html", Some("gbk")),
        ] {
            let read = MediaType::parse(field);
            assert_eq!((&*read.essence, read.charset.as_deref()), (essence, charset), "{field}");
        }
    }
}
