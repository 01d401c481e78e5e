//! A list: a message with one task per line.

use bytes::Bytes;

use super::address::AddressError;
use super::not_a_task::{MAX_LIST_LINES, MAX_MESSAGE_BYTES, NotATask};
use super::typed::{bare, is_padding};
use super::url_line::{UrlLines, begins_with_scheme, is_comment};

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListLine {
    /// A slice of the message's memory.
    pub text: Bytes,
    /// Why the line is not a task, as far as only the list shows it.
    pub reason: Option<NotATask>,
}

/// Divides a list into its lines. Blank lines and comments (`# …`) are left out; whether a line is
/// a task shows when it is read.
pub fn list_lines(data: &Bytes) -> Result<Vec<ListLine>, NotATask> {
    if data.len() > MAX_MESSAGE_BYTES {
        return Err(NotATask::TooLarge(data.len()));
    }
    let text = std::str::from_utf8(data).map_err(|_| NotATask::NotText)?;
    let lines = text
        // A lone CR ends a line, too.
        .split(['\n', '\r'])
        // Lines of a JSON array that was pasted.
        .map(|line| line.trim_matches(is_padding))
        .map(|line| line.strip_suffix(',').unwrap_or(line).trim_end_matches(is_padding))
        .filter(|line| !line.is_empty() && !is_comment(line) && !matches!(*line, "[" | "]"));
    let lines: Vec<&str> = lines.collect();
    match lines.len() {
        0 => return Err(AddressError::Empty.into()),
        1..=MAX_LIST_LINES => {}
        lines => return Err(NotATask::ListTooLong(lines)),
    }
    let urls: Vec<_> = lines.iter().map(|line| bare(line)).collect();
    let rule = UrlLines::learn(urls.iter().map(AsRef::as_ref));
    let line = |(line, url): (&str, &str)| {
        // A JSON object says itself where its URL ends. What is no URL has another reason.
        let doubt = Some(url).filter(|url| begins_with_scheme(url));
        let doubt = doubt.and_then(|url| rule.doubt(url));
        ListLine { text: data.slice_ref(line.as_bytes()), reason: doubt.map(NotATask::UnclearEnd) }
    };
    Ok(lines.into_iter().zip(urls.iter().map(AsRef::as_ref)).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<String>, NotATask> {
        let lines = list_lines(&Bytes::copy_from_slice(text.as_bytes()))?;
        Ok(lines.iter().map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect())
    }

    #[test]
    fn a_list_has_a_task_a_line() {
        for list in [
            "https://a.example/1\nhttps://a.example/2",
            "\u{feff}https://a.example/1\r\n\r\n  https://a.example/2  \r\n",
            "https://a.example/1\rhttps://a.example/2\r",
            "# pages\nhttps://a.example/1,\nhttps://a.example/2,\n",
            "[\n  https://a.example/1,\n  https://a.example/2\n]\n",
            "https://a.example/1\n\u{200b}\n\u{2060}\u{200d}\nhttps://a.example/2\u{200b}",
        ] {
            let expected = ["https://a.example/1", "https://a.example/2"];
            assert_eq!(lines(list).unwrap(), expected, "{list:?}");
        }
        let tasks = "{\"url\":\"https://a.example/1\",\"method\":\"POST\"}\nnonsense";
        assert_eq!(lines(tasks).unwrap().len(), 2);
        assert_eq!(lines("#1 https://a.example/1\n#x").unwrap(), ["#1 https://a.example/1"]);
    }

    #[test]
    fn a_list_is_bounded_and_not_empty() {
        let long = "a\n".repeat(MAX_LIST_LINES + 1);
        for (list, reason) in [
            ("", "empty"),
            (" \n#\n", "empty"),
            ("\u{200b}\n\u{200d}", "empty"),
            (long.as_str(), "5001 lines"),
            (&"x".repeat(MAX_MESSAGE_BYTES + 1), "bytes"),
        ] {
            let error = lines(list).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(list_lines(&Bytes::from_static(b"\xff")), Err(NotATask::NotText));
        assert_eq!(lines(&"a\n".repeat(MAX_LIST_LINES)).unwrap().len(), MAX_LIST_LINES);
    }

    /// The lines of which it is not clear where the URL ends.
    fn unclear(list: &str) -> Vec<String> {
        let lines = list_lines(&Bytes::copy_from_slice(list.as_bytes())).unwrap().into_iter();
        let unclear = lines.filter(|line| matches!(line.reason, Some(NotATask::UnclearEnd(_))));
        unclear.map(|line| String::from_utf8(line.text.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_line_is_no_task_if_it_is_not_clear_where_its_url_ends() {
        for line in [
            "https://a.example/1;",
            "https://a.example/1 # a note",
            "https://a.example/1,shoes",
            "https://a.example/1;shoes",
            "https://a.example/1\tshoes",
            "https://a.example/1,https://a.example/2",
            "https://a.example/1, https://a.example/2",
            "https://a.example/1 https://a.example/2",
            "https://a.example/1\u{2028}https://a.example/2",
            "\"https://a.example/1\",\"shoes\"",
        ] {
            assert_eq!(unclear(line), [line]);
        }
        let cells = ["https://a.example/1,shoes", "https://a.example/2,bags"];
        assert_eq!(unclear(&cells.join("\n")), cells);
    }

    #[test]
    fn a_separator_that_can_be_part_of_a_url_stays_part_of_it() {
        for list in [
            "https://a.example/1\nhttps://a.example/2\nhttps://a.example/3,4",
            "https://a.example/tea,1234.html\nhttps://a.example/jam,1235.html,",
            "\"https://a.example/17;colour=red\",\n<https://a.example/18>",
            "{\"url\": \"https://a.example/1,shoes\", \"category\": \"a, b\"}",
        ] {
            assert_eq!(unclear(list), [""; 0], "{list}");
        }
    }
}
