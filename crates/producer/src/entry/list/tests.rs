use super::*;
use crate::entry::describe;

/// The entries of a list with their lines, and what was recognised.
async fn read(bytes: &[u8], hints: ListHints) -> (Vec<(u64, String)>, String) {
    let charset = Charset::recognise(bytes, None).unwrap();
    let text: Text = Box::new(io::Cursor::new(bytes.to_vec()));
    let mut list = List::new(charset.decode(BufReader::new(text)), charset, hints);
    let (mut entries, mut notices) = (Vec::new(), Vec::new());
    while let Some(entry) = list.next().await.unwrap() {
        notices.extend(list.take_notice());
        entries.push((entry.line, describe(entry.content)));
    }
    notices.extend(list.take_notice());
    (entries, notices.join("; "))
}

fn named(extension: &str) -> ListHints {
    ListHints { extension: Some(extension.to_owned()), ..ListHints::default() }
}

async fn contents(bytes: &[u8]) -> Vec<String> {
    let (entries, _) = read(bytes, ListHints::default()).await;
    entries.into_iter().map(|(_, content)| content).collect()
}

#[tokio::test]
async fn what_is_recognised_is_said_in_one_line() {
    for (extension, bytes, notice) in [
        ("txt", &b"https://a.example/1\n"[..], "text, UTF-8, one URL per line"),
        (
            "csv",
            b"n;m;link\nGr\xfcn;;https://a.example/1\n",
            "CSV with ;, Windows-1252, URL in column 3 \"link\", 3 columns",
        ),
        (
            "tsv",
            b"Tea\thttps://a.example/1\rJam\thttps://a.example/2",
            "CSV with tabs, UTF-8, URL in column 2, 2 columns, no headings, lines that end with CR",
        ),
        ("x", b"{\"url\":\"https://a.example/1\"}", "JSON Lines, UTF-8, URL in the field \"url\""),
        (
            "csv",
            b"name,front,back\nTea,https://a.example/1,https://a.example/2",
            "CSV with ,, UTF-8, the columns 2 \"front\", 3 \"back\" hold URLs; name one with \
             --url-field, by its heading or number",
        ),
    ] {
        assert_eq!(read(bytes, named(extension)).await.1, notice);
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_the_first_line() {
    for text in [
        "\u{feff}\"url\"\nhttps://a.example/1",
        "\u{feff}\"sep=;\"\nx;https://a.example/1",
        "\u{feff}#1001;https://a.example/1",
        "\u{feff}\u{feff}https://a.example/1",
    ] {
        let read = contents(text.as_bytes()).await;
        assert_eq!(read.last().map(String::as_str), Some("https://a.example/1"), "{text}");
        assert!(!read[0].starts_with("invalid"), "{read:?}");
    }
}

#[tokio::test]
async fn every_line_end_ends_a_line() {
    let expected = ["#h", "https://a.example/1", "#b", "https://a.example/2", "#c"];
    for text in [
        "url\nhttps://a.example/1\n\nhttps://a.example/2\n# c",
        "url\r\nhttps://a.example/1\r\n\r\nhttps://a.example/2\r\n# c\r\n",
        "url\rhttps://a.example/1\r\rhttps://a.example/2\r# c",
        "url\nhttps://a.example/1\r\rhttps://a.example/2\r\n# c",
    ] {
        let read = contents(text.as_bytes()).await;
        assert_eq!(read[..4], expected[..4], "{text:?}");
        // There are no comments below headings.
        assert!(read[4].starts_with("invalid: the URL is not usable"), "{read:?}");
    }
    let text = "# c\rhttps://a.example/1\rnowhere\nhttps://a.example/2";
    let read = contents(text.as_bytes()).await;
    assert_eq!(
        (read[0].as_str(), read[1].as_str(), read[3].as_str()),
        ("#c", "https://a.example/1", "https://a.example/2")
    );
}

#[tokio::test]
async fn a_hash_begins_a_comment_in_text_lists_only() {
    let orders = "Name,Total,link\n#1001,5.00,https://a.example/1\n#1002,6.00,https://a.example/2";
    assert_eq!(
        contents(orders.as_bytes()).await,
        ["#h", "https://a.example/1", "https://a.example/2"]
    );
    let orders = "#1001;https://a.example/1\n#1002;https://a.example/2\n";
    assert_eq!(contents(orders.as_bytes()).await, ["https://a.example/1", "https://a.example/2"]);
    let list = " # ours\nhttps://a.example/1\n#https://a.example/2";
    assert_eq!(contents(list.as_bytes()).await, ["#c", "https://a.example/1", "#c"]);
}

#[tokio::test]
async fn a_list_that_is_not_utf_8_loses_no_url_of_ascii() {
    let list = b"name;url\nGr\xfcner Tee;https://a.example/1\nTee;https://a.example/2\n\
                 Tee;https://a.example/gr\xfcn\n";
    let read = contents(list).await;
    assert_eq!(read[..3], ["#h", "https://a.example/1", "https://a.example/2"]);
    assert!(read[3].contains("--encoding windows-1252"), "{read:?}");
    // The first lines may not show it.
    let mut list = "https://a.example/1\n".repeat(200).into_bytes();
    list.extend_from_slice(b"https://a.example/gr\xfcn\nhttps://a.example/2");
    let (entries, notice) = read_all(&list).await;
    assert!(entries[200].contains("--encoding windows-1252"), "{}", entries[200]);
    assert_eq!(entries[201], "https://a.example/2");
    assert!(notice.ends_with("line 201 is not UTF-8 but perhaps Windows-1252"), "{notice}");
}

async fn read_all(bytes: &[u8]) -> (Vec<String>, String) {
    let (entries, notice) = read(bytes, ListHints::default()).await;
    (entries.into_iter().map(|(_, content)| content).collect(), notice)
}

#[tokio::test]
async fn an_overlong_line_ends_a_row_and_affects_no_other_line() {
    let long = "x".repeat(MAX_MESSAGE_BYTES + 1);
    let text = format!(
        "url,note\nhttps://a.example/1,\"open\n{long}\nhttps://a.example/2,\nhttps://a.example/3,"
    );
    let (entries, _) = read(text.as_bytes(), ListHints::default()).await;
    let lines: Vec<u64> = entries.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5]);
    assert!(entries[1].1.starts_with("invalid: a quote is opened"), "{entries:?}");
    assert!(entries[2].1.starts_with("invalid: the line has more than"), "{entries:?}");
    assert_eq!(
        (entries[3].1.as_str(), entries[4].1.as_str()),
        ("https://a.example/2", "https://a.example/3")
    );
}

#[tokio::test]
async fn a_list_that_is_typed_is_recognised_without_waiting_for_its_end() {
    let (mut writer, reader) = tokio::io::duplex(1000);
    tokio::io::AsyncWriteExt::write_all(&mut writer, b"https://a.example/1\n").await.unwrap();
    let text: Text = Box::new(reader);
    let charset = Charset::recognise(b"", None).unwrap();
    let hints = ListHints { is_live: true, ..ListHints::default() };
    let mut list = List::new(BufReader::new(text), charset, hints);
    let entry = list.next().await.unwrap().unwrap();
    assert_eq!(describe(entry.content), "https://a.example/1");
    drop(writer);
    assert!(list.next().await.unwrap().is_none());
}

#[tokio::test]
async fn fields_of_json_lines_may_be_nested() {
    let hints = ListHints { url_field: Some("item.link".to_owned()), ..ListHints::default() };
    let text = "{\"item\":{\"link\":\"https://a.example/1\"},\"category\":\"Tea\"}\n\n\
                {\"item.link\":\"https://a.example/2\"}\n\
                {\"item\":{\"url\":\"https://a.example/3\"}}";
    let (entries, _) = read(text.as_bytes(), hints).await;
    let contents: Vec<&str> = entries.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(contents[..3], ["https://a.example/1 Tea", "#b", "https://a.example/2"]);
    assert!(contents[3].contains("`item.url` holds a URL"), "{contents:?}");
}

#[tokio::test]
async fn a_line_of_json_may_be_a_url_alone() {
    let text = b"\"https://a.example/1\"\n\"https://a.example/2\"\n\"Tea\"\n";
    let (entries, _) = read(text, named("jsonl")).await;
    assert_eq!((&*entries[0].1, &*entries[1].1), ("https://a.example/1", "https://a.example/2"));
    assert!(entries[2].1.contains("no absolute URL"), "{entries:?}");
}

#[tokio::test]
async fn a_list_that_is_one_object_or_empty_is_named_as_such() {
    for object in [
        "{\n  \"urls\": [\n    \"https://a.example/1\"\n  ]\n}\n",
        "{\"products\": [\n{\"url\": \"https://a.example/1\"},\n",
        "{\n\"version\": \"https://jsonfeed.org/version/1.1\",\n\"items\": []\n}",
    ] {
        let reasons = contents(object.as_bytes()).await;
        let first = &reasons[0];
        assert!(first.contains("one JSON object over several lines"), "{reasons:?}");
    }
    for (extension, list) in [("csv", &b""[..]), ("txt", b"\n \n"), ("jsonl", b"")] {
        assert_eq!(read(list, named(extension)).await.1, "the list is empty");
    }
    assert!(!read(b"# ours\n", named("txt")).await.1.contains("empty"));
}

#[tokio::test]
async fn a_url_that_goes_on_in_the_next_line_is_refused() {
    let long = "https://a.example/collections/fine-teas-of-the-world/oolong/";
    for (list, expected) in [
        (format!("{long}\nspring-2026\nhttps://a.example/1\n"), "!?https://a.example/1"),
        (format!("{long}=\n-2026?variant=3D1"), "!?"),
        (format!("{long}\nspring/1\n{long}\njam/2"), "!?!?"),
        (format!("{long}1\n{long}2\nloose.html"), "1!?"),
        // What is not the rest of a URL.
        (format!("{long}1\n\nspring-2026"), "1#b?"),
        (format!("{long}1\nTea\n{long}2\nNULL\n{long}3\n12.90\n{long}4\n(4 rows)"), "1?2?3?4?"),
        (format!("{long}1\nwww.a.example/1\n{long}2"), "1?2"),
        ("https://a.example/1\nspring-2026".to_owned(), "https://a.example/1?"),
    ] {
        let described: String = contents(list.as_bytes())
            .await
            .iter()
            .map(|content| {
                let is_doubted = content.contains("the next line may be the rest");
                let short = content.strip_prefix(long).unwrap_or(content);
                let mark = if is_doubted { "!" } else { "?" };
                if content.starts_with("invalid: ") { mark } else { short }.to_owned()
            })
            .collect();
        assert_eq!(described, expected, "{list}");
    }
    let certain = ListHints { format: Format::Text, ..ListHints::default() };
    let (entries, _) = read(format!("{long}\nspring-2026").as_bytes(), certain).await;
    assert_eq!(entries[0], (1, long.to_owned()));
}

#[tokio::test]
async fn a_number_before_a_url_begins_no_comment() {
    let read =
        contents(b"#1 https://a.example/1\n# https://a.example/2\n#3: https://a.example/3").await;
    assert_eq!(read[1], "#c");
    for index in [0, 2] {
        assert!(read[index].contains("does not begin with its URL"), "{read:?}");
    }
}
