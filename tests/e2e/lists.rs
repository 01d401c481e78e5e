//! Lists as people have them: no URL is cut, changed or lost without a word.

use fetchline_tests::world::World;
use serde_json::Value;

/// A dry run over a list: the exit code, the summary, and the tasks by their URLs.
async fn dry_run(world: &World, arguments: &[&str], input: &str) -> anyhow::Result<DryRun> {
    let flags = ["--log", "json", "produce", "--dry-run", "--json"];
    let arguments = [&flags[..], arguments].concat();
    let output = world.run(&arguments, input).await?;
    let log: Vec<Value> =
        output.stderr.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |message: &str, field: &str| {
        let lines = log.iter().filter(|line| line["message"] == message);
        lines.map(|line| line[field].as_str().unwrap_or_default().to_owned()).collect()
    };
    Ok(DryRun {
        code: output.code,
        urls: of("a task would be published", "url"),
        recognised: of("a source is recognised", "description"),
        reasons: of("a line is rejected", "reason"),
        summary: output.json()?,
    })
}

#[derive(Debug)]
struct DryRun {
    code: Option<i32>,
    urls: Vec<String>,
    recognised: Vec<String>,
    reasons: Vec<String>,
    summary: Value,
}

impl DryRun {
    /// Each line is counted once more, by what became of it.
    fn assert_every_line_is_counted(&self) {
        let counts = [
            "published",
            "resumed",
            "not_sent",
            "duplicates",
            "rejected",
            "blank",
            "comments",
            "headings",
            "continued",
        ];
        let sum: u64 = counts.iter().filter_map(|count| self.summary[count].as_u64()).sum();
        assert_eq!(self.summary["lines"].as_u64(), Some(sum), "{}", self.summary);
    }
}

#[tokio::test]
async fn a_url_with_separators_is_whole_or_its_line_is_rejected() -> anyhow::Result<()> {
    let world = World::new().await?;
    let a = "https://a.example";
    for (name, list, urls) in [
        (
            "list.csv",
            format!("{a}/chart?s=5,5&c=1,2\n{a}/chart?s=5,9&c=3\n"),
            vec!["/chart?s=5,5&c=1,2", "/chart?s=5,9&c=3"],
        ),
        (
            "list.csv",
            format!("{a}/17;colour=red\n{a}/17;colour=blue\n"),
            vec!["/17;colour=red", "/17;colour=blue"],
        ),
        ("list.csv", format!("\"{a}/p/1,2\";Tea\n"), vec!["/p/1,2"]),
        ("list.tsv", format!("{a}/a,b,c\tTea\n"), vec!["/a,b,c"]),
        ("list.csv", format!("\"name; of; the; thing\",url\nx,{a}/1\n"), vec!["/1"]),
        ("list.csv", format!("name,url\rx,{a}/1\ry,{a}/2"), vec!["/1", "/2"]),
        ("list.csv", format!("Name,link\n#1001,{a}/1\n#1002,{a}/2\n"), vec!["/1", "/2"]),
        ("list.txt", format!("sep=;\nx;{a}/1\n"), vec!["/1"]),
        ("list.txt", format!("{a}/1,Tea\n"), vec![]),
    ] {
        let file = world.file(name, &list)?;
        let read = dry_run(&world, &[&file], "").await?;
        let urls: Vec<String> = urls.iter().map(|path| format!("{a}{path}")).collect();
        assert_eq!(read.urls, urls, "{list:?}: {read:?}");
        assert_eq!(read.code, Some(if urls.is_empty() { 3 } else { 0 }), "{list:?}: {read:?}");
        read.assert_every_line_is_counted();
    }
    let read = dry_run(&world, &["-"], "https://a.example/1,Tea\n").await?;
    assert!(read.reasons[0].contains("--format text"), "{read:?}");
    let read = dry_run(&world, &["--format", "text"], "https://a.example/1,Tea\n").await?;
    assert_eq!(read.urls, ["https://a.example/1,Tea"]);
    Ok(())
}

#[tokio::test]
async fn encodings_are_recognised_or_declared() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = "url\tname\r\nhttps://a.example/grün\tTee, grün\r\n";
    let path = world.file("list.txt", "")?;
    let utf_16: Vec<u8> = list.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&b"\xff\xfe"[..], &utf_16].concat();
    for bytes in [&utf_16, &marked] {
        std::fs::write(&path, bytes)?;
        let read = dry_run(&world, &[&path], "").await?;
        assert_eq!(read.urls, ["https://a.example/gr%C3%BCn"], "{read:?}");
        let expected = "CSV with tabs, UTF-16LE, URL in column 1 \"url\", 2 columns";
        assert_eq!((read.code, read.recognised[0].as_str()), (Some(0), expected));
    }
    std::fs::write(&path, b"https://a.example/1\nhttps://a.example/gr\xfcn\n")?;
    let read = dry_run(&world, &[&path], "").await?;
    assert!(read.code == Some(3) && read.reasons[0].contains("--encoding windows-1252"));
    let read = dry_run(&world, &["--encoding", "windows-1252", &path], "").await?;
    assert_eq!(read.urls, ["https://a.example/1", "https://a.example/gr%C3%BCn"]);
    let unknown = world.run(&["produce", "--encoding", "klingon", &path], "").await?;
    assert!(unknown.code == Some(2) && unknown.stderr.contains("windows-1252"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn a_folder_and_a_pattern_stand_for_their_files_in_order() -> anyhow::Result<()> {
    let world = World::new().await?;
    let folder = world.file("lists", "")?;
    std::fs::remove_file(&folder)?;
    std::fs::create_dir_all(format!("{folder}/deeper"))?;
    for (name, id) in [("b.csv", 2), ("a.csv", 1), ("c.txt", 3), (".hidden", 4), ("deeper/d", 5)] {
        std::fs::write(format!("{folder}/{name}"), format!("https://a.example/{id}\n"))?;
    }
    let read = dry_run(&world, &[&folder], "").await?;
    let urls = ["https://a.example/1", "https://a.example/2", "https://a.example/3"];
    assert_eq!((read.code, &read.urls[..]), (Some(0), &urls.map(str::to_owned)[..]));
    let read = dry_run(&world, &[&format!("{folder}/*.csv")], "").await?;
    assert_eq!(read.urls, urls[..2], "{read:?}");
    let nothing = world.run(&["produce", &format!("{folder}/*.xml")], "").await?;
    assert!(nothing.code == Some(2) && nothing.stderr.contains("no files"), "{nothing:?}");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test]
async fn with_json_logs_every_line_is_json() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = format!("{}\nnowhere\n", world.shop.url("/p/1"));
    let output = world.run(&["--log", "json", "produce", "--run", "logged"], &list).await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    let failed = world.run(&["--log", "json", "produce", "no-such-file"], "").await?;
    assert_eq!(failed.code, Some(2), "{failed:?}");
    for line in output.stderr.lines().chain(failed.stderr.lines()) {
        let line: Value = serde_json::from_str(line)?;
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert_eq!(world.ready("urls").await?, 1);
    Ok(())
}
