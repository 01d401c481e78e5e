use std::io::Write;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::entry::describe;

/// A workbook with these sheets, each of which has these rows in XML.
fn workbook(sheets: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut add = |name: &str, text: &str| {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    };
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let (mut list, mut targets) = (String::new(), String::new());
    for (id, (name, rows)) in (1..).zip(sheets) {
        list += &format!("<sheet name=\"{name}\" sheetId=\"{id}\" r:id=\"rId{id}\"/>");
        targets += &format!(
            "<Relationship Id=\"rId{id}\" Type=\"{relations}/worksheet\" \
             Target=\"worksheets/sheet{id}.xml\"/>"
        );
        let sheet =
            format!("<worksheet xmlns=\"{main}\"><sheetData>{rows}</sheetData></worksheet>");
        add(&format!("xl/worksheets/sheet{id}.xml"), &sheet);
    }
    let book = format!(
        "<workbook xmlns=\"{main}\" xmlns:r=\"{relations}\"><sheets>{list}</sheets></workbook>"
    );
    add("xl/workbook.xml", &book);
    let package = "http://schemas.openxmlformats.org/package/2006/relationships";
    let root = format!(
        "<Relationships xmlns=\"{package}\"><Relationship Id=\"rId1\" \
         Type=\"{relations}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    );
    add("_rels/.rels", &root);
    let targets = format!("<Relationships xmlns=\"{package}\">{targets}</Relationships>");
    add("xl/_rels/workbook.xml.rels", &targets);
    archive.finish().unwrap().into_inner()
}

fn cell(place: &str, text: &str) -> String {
    format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
}

fn row(number: u32, cells: &[String]) -> String {
    format!("<row r=\"{number}\">{}</row>", cells.concat())
}

async fn read(file: Vec<u8>) -> io::Result<(String, Vec<(u64, String)>)> {
    let text: Text = Box::new(Cursor::new(file));
    let mut workbook = Workbook::read(BufReader::new(text), None).await?;
    let mut entries = Vec::new();
    let mut notice = String::new();
    while let Some(entry) = workbook.next().await? {
        notice.extend(workbook.take_notice());
        entries.push((entry.line, describe(entry.content)));
    }
    Ok((notice, entries))
}

#[tokio::test]
async fn a_link_below_a_title_is_no_list() {
    let cover = row(1, &[cell("A1", "Our shop")]) + &row(2, &[cell("A2", "https://a.example/")]);
    let list = row(1, &[cell("A1", "Name"), cell("B1", "Seite")])
        + &row(2, &[cell("A2", "Tea"), cell("B2", "https://a.example/1")])
        + &row(3, &[cell("A3", "Jam"), cell("B3", "https://a.example/2;Jam")]);
    let (_, entries) = read(workbook(&[("Cover", &cover), ("List", &list)])).await.unwrap();
    assert_eq!(entries[1].1, "https://a.example/1");
    assert!(entries[2].1.contains("not clear where the URL ends"), "{entries:?}");
}

#[tokio::test]
async fn the_first_sheet_with_urls_is_read_with_its_types() {
    let number = "<c r=\"C3\"><v>5</v></c>".to_owned();
    let rows = [
        row(1, &[cell("A1", "Name"), cell("B1", "Link"), cell("C1", "Category")]),
        row(3, &[cell("A3", "Tea"), cell("B3", "https://a.example/1,2"), number]),
        row(5, &[cell("B5", "https://a.example/&amp;x=1")]),
        row(6, &[cell("A6", "Jam"), cell("B6", "nowhere")]),
    ]
    .concat();
    let notes = row(1, &[cell("A1", "Notes")]);
    let (notice, entries) =
        read(workbook(&[("Notes", &notes), ("Products", &rows)])).await.unwrap();
    assert_eq!(
        notice,
        "Excel workbook, sheet \"Products\" (1 of 2 sheets is read), URL in column 2 \"link\", \
         3 columns"
    );
    let texts: Vec<&str> = entries.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(texts[..3], ["#h", "https://a.example/1,2 5", "https://a.example/&x=1"]);
    assert!(texts[3].starts_with("invalid: the URL is not usable"), "{texts:?}");
    let lines: Vec<u64> = entries.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 3, 5, 6]);
}

#[tokio::test]
async fn a_workbook_that_cannot_be_read_is_an_error_that_says_what_to_do() {
    let notes = row(1, &[cell("A1", "Notes")]);
    for (file, problem) in [
        (b"PK\x03\x04 and nothing".to_vec(), "save it as CSV"),
        (workbook(&[("Notes", &notes)]), "--url-field"),
    ] {
        let error = read(file).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_formula_without_a_value_is_refused() {
    let formula = |place: &str| format!("<c r=\"{place}\"><f>CONCATENATE(D1,1)</f></c>");
    let stored = "<c r=\"A4\" t=\"str\"><f>D1</f><v>https://a.example/4</v></c>".to_owned();
    for heading in ["url", "Link"] {
        let rows = [
            row(1, &[cell("A1", heading), cell("B1", "Category")]),
            row(2, &[formula("A2")]),
            row(3, &[cell("A3", "https://a.example/3"), formula("B3")]),
            row(4, std::slice::from_ref(&stored)),
        ];
        let (_, entries) = read(workbook(&[("List", &rows.concat())])).await.unwrap();
        for row in [1, 2] {
            assert!(entries[row].1.contains("a formula without its value"), "{entries:?}");
        }
        assert_eq!(entries[3].1, "https://a.example/4");
        // Nothing else shows that it is a list.
        let (_, entries) = read(workbook(&[("List", &rows[..2].concat())])).await.unwrap();
        assert!(entries[1].1.contains("a formula without its value"), "{entries:?}");
    }
}

#[tokio::test]
async fn a_sheet_that_may_be_the_list_is_not_dropped() {
    let list = |heading: &str, id: u32| {
        let url = format!("https://a.example/{id}");
        row(1, &[cell("A1", heading), cell("B1", "x")]) + &row(2, &[cell("A2", &url)])
    };
    let cover = row(1, &[cell("A1", "Report")])
        + &row(2, &[cell("A2", "See"), cell("B2", "https://a.example/help")]);
    let plain = |id: u32| row(1, &[cell("A1", &format!("https://a.example/{id}"))]);
    let pages = row(1, &[cell("A1", "Page"), cell("B1", "Remark")]);
    for (sheets, expected) in [
        (vec![("Tea", list("url", 1)), ("Jam", list("url", 2))], Err("\"Tea\", \"Jam\"")),
        (vec![("Tea", list("url", 1)), ("Jam", list("Seite", 2))], Err("\"Tea\", \"Jam\"")),
        (vec![("Tea", plain(1)), ("Jam", plain(2))], Err("\"Tea\", \"Jam\"")),
        (vec![("Info", cover.clone()), ("Data", list("url", 1))], Ok("\"Data\"")),
        (vec![("Data", list("Seite", 1)), ("Info", cover)], Ok("\"Data\"")),
        (vec![("Info", pages), ("Data", plain(1))], Ok("\"Data\"")),
    ] {
        let named: Vec<(&str, &str)> =
            sheets.iter().map(|(name, rows)| (*name, rows.as_str())).collect();
        match (read(workbook(&named)).await, expected) {
            (Ok((notice, entries)), Ok(sheet)) => {
                assert!(notice.contains(sheet), "{notice}");
                assert_eq!(entries.last().unwrap().1, "https://a.example/1");
            }
            (Err(error), Err(names)) => {
                assert!(error.to_string().contains(names), "{error}");
            }
            (read, _) => panic!("{read:?}"),
        }
    }
}

#[tokio::test]
async fn a_cell_without_a_heading_moves_no_other_one() {
    let rows = row(1, &[cell("A1", "Link"), cell("B1", "Name")])
        + &row(2, &[cell("A2", "https://a.example/1"), cell("B2", "Tea"), cell("C2", "ours")]);
    let (_, entries) = read(workbook(&[("List", &rows)])).await.unwrap();
    assert_eq!(entries[1].1, "https://a.example/1");
}

#[tokio::test]
async fn a_row_is_bounded() {
    let link = cell("A1", "https://a.example/1");
    let text = "x".repeat(MAX_MESSAGE_BYTES / 2);
    for (texts, is_read) in [(1, true), (2, false)] {
        let texts = (0..texts).map(|index| cell(["B1", "C1"][index], &text));
        let cells: Vec<String> = [link.clone()].into_iter().chain(texts).collect();
        let result = read(workbook(&[("List", &row(1, &cells))])).await;
        let problem = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(problem.is_empty(), is_read, "{problem}");
        assert!(is_read || problem.contains("row 1 has more than"), "{problem}");
    }
}

#[test]
fn a_tag_and_a_text_of_a_sheet_are_bounded() {
    let long = "x".repeat(MAX_MESSAGE_BYTES + 1);
    let many = "<c><v>1</v></c>".repeat(MAX_MESSAGE_BYTES / 10);
    for (sheet, is_read) in [
        (many.clone(), true),
        (format!("<!-- <b> -->{many}"), true),
        (format!("<![CDATA[>]]>{many}"), true),
        (format!("<t>{long}</t>"), false),
        (format!("<t a=\"{long}\"/>"), false),
        (format!("<!--{}-->", "<>".repeat(MAX_MESSAGE_BYTES)), false),
        (format!("<t><![CDATA[{}]]></t>", "->".repeat(MAX_MESSAGE_BYTES)), false),
        (long, false),
    ] {
        let result = check_sheet(sheet.as_bytes());
        assert_eq!(result.is_ok(), is_read, "{}", &sheet[..20]);
    }
}

#[test]
fn all_parts_but_sheets_are_held() {
    for (name, held) in [
        ("xl/worksheets/sheet1.xml", false),
        ("xl/media/image1.png", false),
        ("xl/sharedstrings.xml", true),
        ("xl/worksheets/sharedstrings.xml", true),
        ("xl/_rels/workbook.xml.rels", true),
    ] {
        assert_eq!(is_held(name), held, "{name}");
    }
}

#[test]
fn a_part_cannot_promise_more_texts_than_it_has_bytes() {
    for (count, is_possible) in [("2", true), ("9999999999999999", false)] {
        let part = format!("<!-- x --><x:sst uniqueCount=\"{count}\"><si/><si/></x:sst>");
        let result = check_count(part.as_bytes(), part.len() as u64);
        assert_eq!(result.is_ok(), is_possible, "{count}");
    }
}

#[tokio::test]
async fn another_archive_is_named() {
    for (names, kind) in [
        (["list.txt", "more/list.csv"], "a ZIP archive"),
        (["[Content_Types].xml", "word/document.xml"], "a Word document"),
        (["_rels/.rels", "ppt/presentation.xml"], "a PowerPoint presentation"),
        (["mimetype", "content.xml"], "an OpenDocument file"),
        (["_rels/.rels", "xl/workbook.bin"], "a binary Excel workbook"),
        (["Index/Document.iwa", "preview.jpg"], "a Numbers"),
    ] {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(b"https://a.example/1\n").unwrap();
        }
        let error = read(archive.finish().unwrap().into_inner()).await.unwrap_err().to_string();
        assert!(error.contains(kind) && error.contains("; "), "{error}");
    }
}
