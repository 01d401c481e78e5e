use super::*;
use crate::entry::describe;
use crate::text::LineEnd;

fn read(text: &str, url_field: Option<&str>) -> Vec<(u64, String)> {
    let line = |(number, text): (u64, &str)| {
        let (end, text) = match text.strip_suffix('\r') {
            Some(text) => (LineEnd::CrLf, text),
            None => (LineEnd::Lf, text),
        };
        ListLine { number, text: text.to_owned(), end, bytes: None, guess: None }
    };
    let lines: Vec<ListLine> = (1..).zip(text.split('\n')).map(line).collect();
    let hints = Hints { extension: Some("csv"), url_field, is_table: true };
    let mut table = Table::recognise(&lines, hints).unwrap();
    let mut entries = Vec::new();
    for line in lines {
        table.push(line);
        entries.extend(std::iter::from_fn(|| table.next()));
    }
    while let Some(entry) = table.finish() {
        entries.push(entry);
        entries.extend(std::iter::from_fn(|| table.next()));
    }
    entries.into_iter().map(|(entry, _)| (entry.line, describe(entry.content))).collect()
}

fn rows(text: &str) -> Vec<String> {
    read(text, None).into_iter().map(|(_, description)| description).collect()
}

#[test]
fn columns_are_found_by_their_headings() {
    let text = "\u{feff}Name;URL;Category\r\n\"Tea; \"\"green\"\"\";http://a.example/1;Tea\r\n\
                \r\nx;http://a.example/2;\r\n";
    assert_eq!(rows(text), ["#h", "http://a.example/1 Tea", "#b", "http://a.example/2", "#b"]);
    assert_eq!(
        read("sku\tlink\n1\thttp://a.example/", Some("Link")),
        [(1, "#h".to_owned()), (2, "http://a.example/".to_owned())]
    );
}

#[test]
fn an_empty_name_is_that_of_no_column() {
    for (_, row) in read("name,\nhttp://a.example/1\nTea,,,", Some("")) {
        assert!(row.contains("no column is known to hold the URL"), "{row}");
    }
}

#[test]
fn without_headings_the_column_is_that_of_the_urls() {
    let rows_read = rows("1,http://a.example/1\n2,http://a.example/2\n3");
    assert_eq!(rows_read[..2], ["http://a.example/1", "http://a.example/2"]);
    assert!(rows_read[2].contains("different number of cells (1)"), "{rows_read:?}");
}

#[test]
fn cells_may_hold_line_ends_and_a_row_has_the_number_of_its_first_line() {
    let rows_read = read("url,note\nhttp://a.example/1,\"two\nlines\"\nhttp://a.example/2,", None);
    assert_eq!(
        rows_read[1..],
        [(2, "http://a.example/1".to_owned()), (4, "http://a.example/2".to_owned())]
    );
}

#[test]
fn an_invalid_row_affects_no_other_row() {
    let rows_read = rows(
        "url,note\nhttp://a.example/1,\"open\nhttp://a.example/2,\nftp://a.example/3,\n\
         http://a.example/4\n\"http://a.example/5\" x,\nhttp://a.example/6,",
    );
    assert!(rows_read[1].starts_with("invalid: a quote is opened"), "{rows_read:?}");
    assert_eq!(rows_read[2], "http://a.example/2");
    assert!(rows_read[3].starts_with("invalid: the URL is not usable"), "{rows_read:?}");
    assert!(rows_read[4].contains("cells (1) than headings (2)"), "{rows_read:?}");
    assert!(rows_read[5].starts_with("invalid: text follows"), "{rows_read:?}");
    assert_eq!(rows_read[6], "http://a.example/6");
}

#[test]
fn a_url_is_never_divided_and_never_has_a_neighbour() {
    for (text, last) in [
        ("name,url\nTea,https://a.example/1,2", None),
        ("name,url\n\"Tea\",\"https://a.example/1,2\"", Some("https://a.example/1,2")),
        ("name;url\nTea;https://a.example/1,2", Some("https://a.example/1,2")),
        ("url;name\n\"https://a.example/p/1,2\";Tea", Some("https://a.example/p/1,2")),
        (
            "name,url\nTea,\"https://a.example/?q=\"\"tea\"\"\"",
            Some("https://a.example/?q=%22tea%22"),
        ),
        ("url;name\n\"https://a.example/\"\"a\"\"/b;c\";x", Some("https://a.example/%22a%22/b;c")),
        ("\"url\"\n\"https://a.example/?q=\"\"\"", Some("https://a.example/?q=%22")),
        ("Tea,\"https://a.example/?q=\"\"t\"\"&x\"", Some("https://a.example/?q=%22t%22&x")),
        ("name,url\nTea,https://a.example/?q=\"tea\"", None),
        ("url\n\"https://a.example/1,\"\"Tea, green\"\"\"", None),
        ("url,name\n\"https://a.example/1\"\";\"\"x\",Tea", None),
        ("url\nhttps://a.example/1,Tea", None),
        (
            "url\nhttps://a.example/1,2\nhttps://a.example/1?a=b,c=d",
            Some("https://a.example/1?a=b,c=d"),
        ),
        (
            "url,images\nhttps://a.example/1,\"https://a.example/a, https://a.example/b\"",
            Some("https://a.example/1"),
        ),
        ("images,name\n\"https://a.example/a, https://a.example/b\",Tea", None),
        ("url,name\n\"https://a.example/1\nhttps://a.example/2\",Tea", None),
        ("name,url\nTea,\"https://a.example/1\n\"", Some("https://a.example/1")),
        ("url,name\n\"https://a.example/1\r\n \r\n\",Tea", Some("https://a.example/1")),
        ("name,url\nTea,\"https://a.example/1\nx\"", None),
    ] {
        let read = rows(text);
        let content = read.last().filter(|content| !content.starts_with("invalid: "));
        assert_eq!(content.map(String::as_str), last, "{text}: {read:?}");
    }
}

#[test]
fn a_row_above_the_headings_is_refused_and_the_rest_is_read() {
    let text = "Report of 1 May\n\"\"\nSKU,Page\n7,https://a.example/1";
    let read = rows(text);
    assert!(read[0].contains("above the headings"), "{read:?}");
    assert_eq!(read[1..], ["#b", "#h", "https://a.example/1"]);
}

#[test]
fn a_file_may_hold_several_tables() {
    let text = "url,category\nnowhere,Tea\ncategory;url\nJam;http://a.example/1\nJam;nowhere";
    let rows_read = rows(text);
    assert!(
        rows_read[1].starts_with("invalid: ") && rows_read[4].starts_with("invalid: "),
        "{rows_read:?}"
    );
    assert_eq!(
        [&rows_read[0], &rows_read[2], &rows_read[3]],
        ["#h", "#h", "http://a.example/1 Jam"]
    );
    let rows_read = rows("url,kind\nnowhere,url\nhttp://a.example/1,page");
    assert!(
        rows_read[1].starts_with("invalid: ") && rows_read[2] == "http://a.example/1",
        "{rows_read:?}"
    );
    for other in ["url,price\nhttp://a.example/2,1", "Link;Name\nhttp://a.example/2;Tea"] {
        let rows_read = rows(&format!("name,url\nTea,http://a.example/1\n\n{other}"));
        assert_eq!(rows_read, ["#h", "http://a.example/1", "#b", "#h", "http://a.example/2"]);
    }
}

#[test]
fn a_row_with_a_url_is_never_taken_for_headings() {
    for (text, expected) in [
        ("name,url\nTea,http://a.example/1\nhttp://a.example/2,url", 2),
        ("url,kind\nhttp://a.example/1,page\nkind,http://a.example/2,url", 2),
        ("kind;url\nx;http://a.example/1\n\nlink;http://a.example/2;x", 3),
    ] {
        let rows_read = rows(text);
        assert!(rows_read[expected].starts_with("invalid: "), "{rows_read:?}");
    }
    assert_eq!(rows("url,http://a.example/1"), ["http://a.example/1"]);
}

#[test]
fn a_usual_heading_is_enough_for_a_column_with_few_urls() {
    for blank in ["NULL", "n/a", "-", "folgt"] {
        let rows_read = rows(&format!("Nr,Link\n1,http://a.example/1\n2,{blank}\n3,{blank}\n"));
        assert_eq!(rows_read[..2], ["#h", "http://a.example/1"]);
        assert!(rows_read[2].starts_with("invalid: "), "{rows_read:?}");
    }
}
