//! Lists that can be read in two ways: nothing is cut, glued or lost without a word.

use super::*;
use crate::entry::describe;

/// The contents of the entries of a list.
async fn read(extension: &str, list: &str) -> Vec<String> {
    let charset = Charset::recognise(list.as_bytes(), None).unwrap();
    let text: Text = Box::new(io::Cursor::new(list.as_bytes().to_vec()));
    let hints = ListHints { extension: Some(extension.to_owned()), ..ListHints::default() };
    let mut list = List::new(charset.decode(BufReader::new(text)), charset, hints);
    let (mut contents, mut lines) = (Vec::new(), 0);
    while let Some(entry) = list.next().await.unwrap() {
        assert_eq!(entry.line, lines + 1, "each line belongs to one entry");
        lines += list.span();
        contents.push(describe(entry.content));
    }
    contents
}

/// Reads lists with `§` for a site. Each expected content is a URL, a kind of an ignored line, or
/// `!` and a part of a reason.
async fn check(lists: &[(&str, &str, &[&str])]) {
    for (extension, list, expected) in lists {
        let contents = read(extension, &list.replace('§', "https://shop.example")).await;
        let fits = |(content, expected): (&String, &&str)| match expected.strip_prefix('!') {
            Some(reason) => content.starts_with("invalid: ") && content.contains(reason),
            None => *content == expected.replace('§', "https://shop.example"),
        };
        let all_fit = contents.iter().zip(expected.iter()).all(fits);
        assert!(all_fit && contents.len() == expected.len(), "{list}: {contents:#?}");
    }
}

const OTHER_WIDTH: &str = "!different number of cells";
const UNCLEAR: &str = "!not clear where the URL ends";

#[tokio::test]
async fn a_row_with_more_cells_than_headings_has_a_divided_url() {
    check(&[
        ("csv", "sku,link\n1,§/a,1.html\n2,§/b,2.html\n", &["#h", OTHER_WIDTH, OTHER_WIDTH]),
        ("csv", "lastmod;loc\n2026;§/1;jsessionid=1\n", &["#h", OTHER_WIDTH]),
        ("csv", "Nom,Lien\nx,§/a,1.html\ny,§/b,c\n", &["#h", OTHER_WIDTH, OTHER_WIDTH]),
        ("txt", "Produkt;Preis;Seite\nx;1;§/a;v=1\n", &["#h", OTHER_WIDTH]),
        // The sound rows are the ones that are published, however few they are.
        (
            "csv",
            "sku,Seite\n1,§/a\n2,§/b,2.html\n3,§/c,3.html\n4,§/d,4\n",
            &["#h", "§/a", OTHER_WIDTH, OTHER_WIDTH, OTHER_WIDTH],
        ),
        ("csv", "Seite,Preis\n§/x,1.html,12.90\n", &["#h", OTHER_WIDTH]),
        // Without headings, many rows with fewer cells show it.
        ("csv", "7,§/a,1\n7,§/b,c,2\n", &["§/a", OTHER_WIDTH]),
        ("csv", "7;§/a;x;1\n7;§/b;x;2\n8;§/c\n", &[OTHER_WIDTH, OTHER_WIDTH, "§/c"]),
        ("txt", "x|§/a|430\ny|§/b\n", &[OTHER_WIDTH, "§/b"]),
    ])
    .await;
}

#[tokio::test]
async fn cells_that_look_like_the_rest_of_a_url_are_no_cells_whatever_the_headings() {
    check(&[
        (
            "csv",
            "Name;URL;Farbe\nTee;§/p/1;Rot\nDose;§/p/2;jsessionid=17\n",
            &["#h", "§/p/1", UNCLEAR],
        ),
        ("csv", "name,url,price\nTea,§/p/1,1\nPot,§/tea,17.html\n", &["#h", "§/p/1", UNCLEAR]),
        ("csv", "id,link,title\n1,§/map/@52.5,13.4/x\n2,§/p/2,Pot\n", &["#h", UNCLEAR, "§/p/2"]),
        ("csv", "url,title,date,author\n§/0,1518,1234,00.html\n", &["#h", UNCLEAR]),
        ("csv", "Name;Seite;Farbe\nTee;§/p;id=17\nDose;§/p;id=18\n", &["#h", UNCLEAR, UNCLEAR]),
        ("csv", "url,image\n§/1,§/1.jpg?v=2\n§/2,§/2.html\n", &["#h", "§/1", "§/2"]),
        ("csv", "url,status,type\n§/1,200,text/html;charset=utf-8\n", &["#h", "§/1"]),
        ("csv", "url,visits,segment\n§/1,2,pageUrl==https%3A%2F%2Fa.example%2F\n", &["#h", "§/1"]),
        // Quotes or tabs show where the URL ends.
        ("csv", "url,file\n\"§/p\",17.html\n§/q,\"18.html\"\n", &["#h", "§/p", "§/q"]),
        ("csv", "url,file,note\n§/p,17.html,\"a,b\"\n§/q,18.html,c\n", &["#h", "§/p", "§/q"]),
        ("tsv", "url\tfile\n§/p\t17.html\n", &["#h", "§/p"]),
        ("csv", "url,price,name\n§/p?id=1,12.90,Tea\n§/v/1,2,a=b\n", &["#h", "§/p?id=1", UNCLEAR]),
    ])
    .await;
}

#[tokio::test]
async fn a_cell_that_holds_more_than_its_url_is_refused() {
    check(&[
        (
            "csv",
            "Nr,Link\n1,§/p/1;Tea\n2,§/p/2|x\n3,§/p/3;/p/9\n",
            &["#h", UNCLEAR, UNCLEAR, UNCLEAR],
        ),
        (
            "csv",
            "Nr;Link\n1;§/p/1,Tea\n2;§/p/2,12.90\n3;§/p/3\n",
            &["#h", UNCLEAR, UNCLEAR, "§/p/3"],
        ),
        (
            "tsv",
            "Nr\tLink\n1\t§/p/1,\n2\t§/p/2;\n3\t§/p/3，红茶\n4\t§/4\n",
            &["#h", UNCLEAR, UNCLEAR, UNCLEAR, "§/4"],
        ),
        (
            "csv",
            "Nr;Link\n1;§/p/1 neu\n2;§/p/2 siehe Mail\n3;§/my file.jpg\n",
            &["#h", UNCLEAR, UNCLEAR, "§/my%20file.jpg"],
        ),
        ("csv", "Nr;Link\n1;§/p/1]\n2;§/p/2<br>\n3;§/p/3\n", &["#h", "!`]`", "!`<`", "§/p/3"]),
        ("txt", "[Tea|§/p/1]\n[Pot|§/p/2]\n", &["!`]`", "!`]`"]),
        // What a URL may hold, and what is quoted for it.
        (
            "csv",
            "Nr;Link\n1;§/map/@52.52,13.40\n2;§/p/1,2\n",
            &["#h", "§/map/@52.52,13.40", "§/p/1,2"],
        ),
        ("csv", "Nr,Link\n1,\"§/p/red,green\"\n2,§/p;id=1\n", &["#h", "§/p/red,green", "§/p;id=1"]),
    ])
    .await;
}

#[tokio::test]
async fn a_comment_or_a_title_proves_nothing_about_the_lines_below_it() {
    check(&[
        (
            "txt",
            "# Exported 2026-12-01, by cron\n§/tea,1234.html\n§/jam,1235.html\n",
            &["#c", "§/tea,1234.html", "§/jam,1235.html"],
        ),
        ("txt", "# products; tea only\n§/p/1;color=red\n", &["#c", "§/p/1;color=red"]),
        ("csv", "# Stores in Berlin, Germany\n§/map/@52.52,13.40\n", &["#c", UNCLEAR]),
        (
            "txt",
            "Products, week 12\n§/tea,1.html\n§/jam,2.html\n",
            &["!no absolute URL", "§/tea,1.html", "§/jam,2.html"],
        ),
        ("txt", "Shop list, 2026-12-01\n§/map/@52.52,13.40\n", &["!no absolute URL", UNCLEAR]),
        ("csv", "Shop;week 12\n§/p;color=red\n", &["#h", UNCLEAR]),
        ("csv", "Id,Seite,Datei\n5,§/p,1.html\n", &["#h", UNCLEAR]),
        ("csv", "Seite,Datei,x\n§/p,1.html,\"a,b\"\n", &["#h", "§/p"]),
        ("csv", "# my list\n§/1\n# second\n§/2\n", &["#c", "§/1", "#c", "§/2"]),
        // What looks like an order number, and a heading, are no comments.
        ("csv", "#,Seite\n5,§/1\n", &["#h", "§/1"]),
        ("csv", "#1001,\n#1002,§/2\n", &["!empty", "§/2"]),
        ("csv", "# 5;§/1\n# 6;§/2\n", &["§/1", "§/2"]),
    ])
    .await;
}

#[tokio::test]
async fn comments_above_a_table_are_ignored() {
    let rule = "# ----------------------------------------";
    let ga4 = format!(
        "{rule}\n# Pages: Page location\n# 20261101-20261130\n{rule}\n\nPage location,Sessions\n\
         §/1,120\n§/2,7\n"
    );
    check(&[
        ("csv", &ga4, &["#c", "#c", "#c", "#c", "#b", "#h", "§/1", "§/2"]),
        ("csv", "# a, b\nname,url\n# c,§/1\n", &["#c", "#h", "§/1"]),
        ("txt", "#! ours\nTea;§/1\n# c\n", &["#c", "§/1", OTHER_WIDTH]),
        ("csv", "#\n# Source: §/\nname,Seite\nx,§/1\n", &["#c", "#c", "#h", "§/1"]),
    ])
    .await;
}

#[tokio::test]
async fn an_empty_cell_too_many_does_not_hide_a_divided_url() {
    check(&[
        ("csv", "url,note\n§/tea,1.html,\n§/jam,ok\n", &["#h", OTHER_WIDTH, "§/jam"]),
        ("csv", "name;url;note\nx;§/p;v=1;\ny;§/j;ok\n", &["#h", OTHER_WIDTH, "§/j"]),
        ("csv", "url,category\n§/tea,1.html,\n", &["#h", OTHER_WIDTH]),
        ("csv", "link,,\n§/a,,\n§/b,c,\n", &["#h", "§/a", OTHER_WIDTH]),
        (
            "csv",
            "§/1;a\n§/2;b\n§/3;c\n\"§/4\";d;\n§/5;e;\n",
            &["§/1", "§/2", "§/3", "§/4", OTHER_WIDTH],
        ),
        // Nothing is behind the URL, or the headings have the empty column as well.
        ("csv", "name,url\nx,§/1,,\n", &["#h", "§/1"]),
        ("csv", "url,name,\n§/1,Tea,\n§/2,Jam,\n", &["#h", "§/1", "§/2"]),
        ("csv", "url;;\n§/a;;\n§/b;;\n", &["#h", "§/a", "§/b"]),
        ("csv", "Seite,,\n§/a,,\n§/b,,\n", &["#h", "§/a", "§/b"]),
        ("txt", "link;\n§/a;\n§/17;colour=red\n", &["#h", "§/a", OTHER_WIDTH]),
    ])
    .await;
}

#[tokio::test]
async fn white_space_that_may_be_part_of_a_url_makes_no_table() {
    check(&[
        ("txt", "§/place/12 Main St, New York\n§/place/7 High St, Old Town\n", &[UNCLEAR; 2]),
        ("txt", "§/search?q=tea, very green\n§/search?q=tea, very black\n", &[UNCLEAR; 2]),
        ("csv", "§/img/Tea, green fresh.jpg\n§/img/Jam, red sweet.png\n", &[UNCLEAR; 2]),
        ("csv", "§/img/Tea,green fresh.jpg\n§/img/Jam,red sweet.png\n", &[UNCLEAR; 2]),
        ("txt", "§/1,Green tea\n§/2,Jam\n", &["§/1", "§/2"]),
    ])
    .await;
}

#[tokio::test]
async fn a_quoted_line_speaks_for_its_own_delimiter_only() {
    check(&[
        (
            "csv",
            "§/p/1;color=red\n§/p/2;color=blue\n\"§/a,b\"\n",
            &["§/p/1;color=red", "§/p/2;color=blue", "§/a,b"],
        ),
        ("csv", "§/p|x=1\n§/p|x=2\n\"§/1\"\n", &["§/p|x=1", "§/p|x=2", "§/1"]),
        // One row that is quoted proves nothing about another one.
        ("csv", "§/p;x=1\n§/p;x=2\n§/1;\"Tea\"\n", &[UNCLEAR, UNCLEAR, "§/1"]),
        ("csv", "\"§/p/1,2\";Tea\n§/2;Jam\n", &["§/p/1,2", "§/2"]),
    ])
    .await;
}

#[tokio::test]
async fn two_urls_of_a_line_are_never_one() {
    check(&[
        ("txt", "§/1§/2\n§/3^§/4\n§/5>§/6\n§/7#§/8\n", &["!second URL"; 4]),
        ("csv", "name,url\nx,\"§/1,HTTPS://SHOP.EXAMPLE/2\"\n", &["#h", "!second URL"]),
        ("csv", "name,url\nx,\"§/1; Https://shop.example/4\"\n", &["#h", "!second URL"]),
        ("txt", "§/?u=§/\n§/r/§/\n", &["§/?u=§/", "§/r/§/"]),
        ("md", "* §/1\n1. §/2\nTea: §/4\n", &["!stands before"; 3]),
    ])
    .await;
}

#[tokio::test]
async fn a_name_behind_some_urls_is_never_glued_on() {
    let mixed = |count: usize| -> String {
        let name = |id: usize| if id < count { "" } else { ",Tea" };
        (0..2 * count).map(|id| format!("https://shop.example/{id}{}\n", name(id))).collect()
    };
    let contents = read("txt", &mixed(150)).await;
    let (bare, named) = contents.split_at(150);
    assert!(bare.iter().all(|content| content.starts_with("https://")), "{bare:?}");
    assert!(named.iter().all(|content| content.starts_with("invalid: ")), "{named:?}");
    check(&[
        ("csv", "§/1,Tea\n§/2,Jam,sweet\n§/3\n", &[UNCLEAR, UNCLEAR, "§/3"]),
        ("csv", "§/1\n§/2\n§/3,Tea\n", &["§/1", "§/2", UNCLEAR]),
        ("csv", "§/old/1,/tea.html\n§/old/2,/jam.html\n", &[UNCLEAR; 2]),
        ("txt", "§/1|www.other.example/p?id=2\n§/2\n", &[UNCLEAR, "§/2"]),
        ("csv", "§/1,aGVsbG8=\n§/2,d29ybGQ=\n", &[UNCLEAR; 2]),
    ])
    .await;
}

#[tokio::test]
async fn rows_that_are_quoted_as_a_whole_are_refused() {
    let whole = "!quoted as a whole";
    check(&[
        ("csv", "\"url,name\"\n\"§/1,Tea\"\n\"§/2,Jam\"\n", &[whole; 3]),
        ("csv", "\"Seite;Preis\"\n\"§/1;12.90\"\n", &[whole; 2]),
        ("csv", "\"§/1;Tea;12.90\"\n\"§/2;Jam;7\"\n", &[UNCLEAR; 2]),
        ("csv", "\"§/1;12.90\"\n\"§/2;7\"\n", &[UNCLEAR; 2]),
        ("csv", "url\n\"§/?tags=red,green\"\n§/2\n", &["#h", "§/?tags=red,green", "§/2"]),
        ("csv", "\"§/1,2\"\n\"§/3\"\n", &["§/1,2", "§/3"]),
    ])
    .await;
}

#[tokio::test]
async fn a_row_that_a_stray_quote_hides_is_not_lost() {
    let next = "!next row";
    check(&[
        (
            "tsv",
            "name\tlink\n\"Best tea\t§/1\nPot 5\"\t§/2\nCup\t§/3\n",
            &["#h", next, "§/2", "§/3"],
        ),
        ("csv", "name,url\n\"Tea 5\\\"\",§/1\nJam 6\",§/2\n", &["#h", next, "§/2"]),
        (
            "csv",
            "id;name;url;x\n\"1\";\"Tea 5;§/1;a\n2;Pot;§/2;b\n3;Cup 6\";§/3;c\n",
            &["#h", next, "§/2", "§/3"],
        ),
        // It is not known whether the lines inside are rows.
        ("csv", "url,note\n§/1,\"Tea 5\n§/2,Pot 6\"\n§/3,\n", &["#h", "!other rows", "§/3"]),
        ("csv", "a,url\n\"x\ny, z\",§/1\n\"see §/x\n\",§/2\n", &["#h", "§/1", "§/2"]),
        ("csv", "url,note\n§/1,\"x\nsee §/x, or\ny\"\n", &["#h", "§/1"]),
    ])
    .await;
}

#[tokio::test]
async fn a_url_that_was_escaped_or_mangled_is_refused() {
    check(&[
        (
            "csv",
            "name,url\nx,https:\\/\\/shop.example\\/p\ny,§/1\\n§/2\nz,§/a\\b\n",
            &["#h", "!backslash", "!backslash", "!backslash"],
        ),
        (
            "txt",
            "https://https://shop.example\nhttps:///shop.example/2\nhttps:shop.example/3\n§,Tea\n",
            &["!twice", "!scheme", "!scheme", "!`shop.example,tea`"],
        ),
        (
            "csv",
            "name,url\nx,§/1 - out of stock\ny,§/2 # old\nz,\"§/3, www.shop.example/4\"\n\
             q,§/my file.jpg\n",
            &["#h", "!remark", "!remark", "!remark", "§/my%20file.jpg"],
        ),
        (
            "csv",
            "name,url\nx,#N/A\ny,\"=HYPERLINK(\"\"§/1\"\",\"\"Tea\"\")\"\n",
            &["#h", "!not usable", "!formula"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn several_columns_of_one_heading_are_told_apart_by_their_urls() {
    check(&[
        ("csv", "URL,Name,URL\n§/a,Tea,§/b\n", &["!columns 1 \"url\", 3 \"url\""; 2]),
        ("csv", "link,x,Link\n§/a,Tea,§/b\n", &["!columns 1 \"link\", 3 \"link\""; 2]),
        ("csv", "url,x,url\n§/a,Tea,\n", &["#h", "§/a"]),
        ("csv", "url,x,url\n,Tea,§/b\nx,y,§/c\n", &["#h", "§/b", "§/c"]),
        ("csv", "url,link\n§/a,§/b\n", &["#h", "§/a"]),
    ])
    .await;
}

#[tokio::test]
async fn pictures_are_published_only_by_name() {
    let pictures = "!may be those of pictures";
    check(&[
        ("csv", "Handle,Title,Image Src\nx,Tea,§/1.jpg\n", &[pictures; 2]),
        ("csv", "name;Bild-URL\nx;§/1.jpg\n", &[pictures; 2]),
        ("csv", "name;imageLink\nx;§/1.jpg\n", &[pictures; 2]),
        ("csv", "name,image,link\nx,§/1.jpg,§/1\n", &["#h", "§/1"]),
        ("csv", "name,Imagination\nx,§/1\n", &["#h", "§/1"]),
    ])
    .await;
}

#[tokio::test]
async fn columns_of_other_exports_are_no_options_of_a_task() {
    check(&[
        ("csv", "title,url,body\nx,§/1,<p>Good tea</p>\ny,§/2,\n", &["#h", "!`method`", "§/2"]),
        ("csv", "url,method,body\n§/1,POST,x\n", &["#h", "§/1"]),
        ("csv", "url,method\n§/1,Organic\n", &["#h", "!rename"]),
        ("csv", "loc,lastmod,changefreq,priority\n§/1,2026-01-01,daily,0.8\n", &["#h", "§/1"]),
        ("csv", "loc,priority\n§/1,1\n§/2,0.5\n", &["#h", "§/1", "§/2"]),
        ("csv", "url,priority\n§/1,high\n§/2,9\n", &["#h", "!rename", "§/2"]),
    ])
    .await;
}

#[tokio::test]
async fn a_sound_list_is_no_worse_for_what_stands_around_it() {
    let long = format!("Description,Link\n\"{}\",§/1\nx,§/2", "line\n".repeat(150));
    let late = format!("Name,Link\n{}x,§/1\n", "x,\n".repeat(120));
    check(&[
        ("csv", &long, &["#h", "§/1", "§/2"]),
        ("csv", "الاسم,الرابط\nx,\u{200f}§/1\u{200e}\n", &["#h", "§/1"]),
        ("csv", "Seite;x\n\u{202a}§/1\u{202c};y\n", &["#h", "§/1"]),
        ("txt", "§/1\r\n\u{1a}", &["§/1", "#b"]),
        ("csv", "url,x\r\n§/1,y\r\n\u{1a}", &["#h", "§/1", "#b"]),
        (
            "csv",
            "§/\nTop pages,Clicks\n§/1,120\n\"§/2\",7\n",
            &["!above the headings", "#h", "§/1", "§/2"],
        ),
        ("csv", "§/\nSeite,Klicks,x\n§/1,120,2\n", &["!above the headings", "#h", "§/1"]),
    ])
    .await;
    let contents = read("csv", &late.replace('§', "https://shop.example")).await;
    assert_eq!(contents[121], "https://shop.example/1");
}
