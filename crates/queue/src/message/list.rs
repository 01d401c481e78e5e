//! A list: a message with one task per line.

use bytes::Bytes;

use super::address::AddressError;
use super::not_a_task::{MAX_LIST_LINES, MAX_MESSAGE_BYTES, NotATask};

/// Divides a list into its lines, each a slice of the message's memory. Blank lines and comments
/// (`# …`) are left out; whether a line is a task shows when it is read.
pub fn list_lines(data: &Bytes) -> Result<Vec<Bytes>, NotATask> {
    if data.len() > MAX_MESSAGE_BYTES {
        return Err(NotATask::TooLarge(data.len()));
    }
    let text = std::str::from_utf8(data).map_err(|_| NotATask::NotText)?;
    let is_padding = |c: char| c.is_whitespace() || c == '\u{feff}';
    let lines = text
        // A lone CR ends a line, too.
        .split(['\n', '\r'])
        // Lines of a JSON array that was pasted.
        .map(|line| line.trim_matches(is_padding))
        .map(|line| line.strip_suffix(',').unwrap_or(line).trim_end())
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !matches!(*line, "[" | "]"));
    let lines: Vec<Bytes> = lines.map(|line| data.slice_ref(line.as_bytes())).collect();
    match lines.len() {
        0 => Err(AddressError::Empty.into()),
        1..=MAX_LIST_LINES => Ok(lines),
        lines => Err(NotATask::ListTooLong(lines)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Vec<String>, NotATask> {
        let lines = list_lines(&Bytes::copy_from_slice(text.as_bytes()))?;
        Ok(lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect())
    }

    #[test]
    fn a_list_has_a_task_a_line() {
        for list in [
            "https://a.example/1\nhttps://a.example/2",
            "\u{feff}https://a.example/1\r\n\r\n  https://a.example/2  \r\n",
            "https://a.example/1\rhttps://a.example/2\r",
            "# pages\nhttps://a.example/1,\nhttps://a.example/2,\n",
            "[\n  https://a.example/1,\n  https://a.example/2\n]\n",
        ] {
            let expected = ["https://a.example/1", "https://a.example/2"];
            assert_eq!(lines(list).unwrap(), expected, "{list:?}");
        }
        let tasks = "{\"url\":\"https://a.example/1\",\"method\":\"POST\"}\nnonsense";
        assert_eq!(lines(tasks).unwrap().len(), 2);
    }

    #[test]
    fn a_list_is_bounded_and_not_empty() {
        let long = "a\n".repeat(MAX_LIST_LINES + 1);
        for (list, reason) in [
            ("", "empty"),
            (" \n#\n", "empty"),
            (long.as_str(), "5001 lines"),
            (&"x".repeat(MAX_MESSAGE_BYTES + 1), "bytes"),
        ] {
            let error = lines(list).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(list_lines(&Bytes::from_static(b"\xff")), Err(NotATask::NotText));
        assert_eq!(lines(&"a\n".repeat(MAX_LIST_LINES)).unwrap().len(), MAX_LIST_LINES);
    }
}
