//! Parts of runs that are interrupted and resumed.

use fetchline_tests::world::World;

/// A list with its expected counts: every hundredth line is bad, and every twentieth is a
/// duplicate.
struct List {
    text: String,
    tasks: u64,
    bad: u64,
    duplicates: u64,
}

impl List {
    fn new(world: &World, lines: u64) -> Self {
        let mut list = Self { text: String::new(), tasks: 0, bad: 0, duplicates: 0 };
        for line in 1..=lines {
            let text = match line {
                line if line % 100 == 0 => {
                    list.bad += 1;
                    format!("ftp://shop.example/{line}")
                }
                line if line % 20 == 1 && line > 1 => {
                    list.duplicates += 1;
                    world.shop.url("/empty/2")
                }
                line => {
                    list.tasks += 1;
                    world.shop.url(&format!("/empty/{line}"))
                }
            };
            list.text.push_str(&text);
            list.text.push('\n');
        }
        list
    }
}

#[tokio::test]
async fn the_counts_of_a_long_list_with_rejects_and_duplicates_match_those_of_its_run()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let list = List::new(&world, 5_000);
    let file = world.file("list.txt", &list.text)?;
    let rejects = world.file("rejects.txt", "")?;
    let worker = world.worker(&[])?;
    let produced = world
        .run(&["produce", "--run", "long", "--json", "--rejects", &rejects, &file], "")
        .await?;
    assert_eq!(produced.code, Some(3), "{produced:?}");
    let summary = produced.json()?;
    for (count, expected) in
        [("published", list.tasks), ("rejected", list.bad), ("duplicates", list.duplicates)]
    {
        assert_eq!(summary[count], expected, "{count}");
    }
    for line in (100..=5_000).step_by(100) {
        assert!(
            produced.stderr.contains(&format!("list.txt:{line}: ")),
            "line {line} is not reported"
        );
    }
    assert_eq!(std::fs::read_to_string(&rejects)?.lines().count() as u64, list.bad);
    let waited =
        world.run(&["status", "--run", "long", "--wait", "--for", "2m", "--json"], "").await?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let run = &waited.json()?["run"];
    assert_eq!((&run["planned"], &run["rows"]), (&list.tasks.into(), &list.tasks.into()));
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_producer_resumes_after_the_last_confirmed_line() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = List::new(&world, 6_000);
    let file = world.file("list.txt", &list.text)?;
    let checkpoint = world.file("checkpoint.json", "")?;
    let arguments = ["produce", "--json", "--checkpoint", &checkpoint, "--rate", "1500/s", &file];
    let worker = world.worker(&[])?;
    let mut confirmed = 0;
    for _ in 0..3 {
        let producer = world.start(&arguments)?;
        let tasks = async || {
            let text = std::fs::read_to_string(&checkpoint)?;
            let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(state["confirmed"]["tasks"].as_u64().unwrap_or(0))
        };
        let before = confirmed;
        confirmed =
            fetchline_tests::wait::until("more confirmed tasks", tasks, |tasks| *tasks > before)
                .await?;
        producer.kill().await?;
    }
    let output = world.run(&arguments, "").await?;
    assert_eq!(output.code, Some(3), "{output:?}");
    let summary = output.json()?;
    let (resumed, published) = (summary["resumed"].as_u64(), summary["published"].as_u64());
    assert!(resumed >= Some(confirmed) && confirmed > 0, "{summary}");
    // Duplicates are also found after the interruption if the first occurrence was before it.
    assert_eq!(summary["duplicates"], list.duplicates);
    assert_eq!(
        resumed.zip(published).map(|(resumed, published)| resumed + published),
        Some(list.tasks)
    );
    assert!(!std::path::Path::new(&checkpoint).exists(), "a finished part is not resumed");

    let run = summary["run"].as_str().unwrap_or_default();
    let waited =
        world.run(&["status", "--run", run, "--wait", "--for", "2m", "--json"], "").await?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let status = &waited.json()?["run"];
    assert_eq!((&status["planned"], &status["rows"]), (&list.tasks.into(), &list.tasks.into()));
    assert_eq!(world.rows().await?.unsigned_abs(), list.tasks, "every URL has exactly one row");
    assert_eq!(
        world.count("SELECT COUNT(*) FROM runs").await?,
        1,
        "all producers belong to one part"
    );
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn an_interrupted_part_stays_open_with_a_checkpoint_and_is_closed_without()
-> anyhow::Result<()> {
    let world = World::new().await?;
    let file = world.file("urls.txt", &world.pages(2_000).join("\n"))?;
    let checkpoint = world.file("checkpoint.json", "")?;
    for (run, flags, planned) in
        [("open", &["--checkpoint", &checkpoint][..], 0), ("closed", &[], 1)]
    {
        let arguments =
            [&["produce", "--json", "--run", run, "--rate", "100/s", &file][..], flags].concat();
        let producer = world.start(&arguments)?;
        let ready = async || world.ready("urls").await;
        let before = world.ready("urls").await?;
        fetchline_tests::wait::until("some messages", ready, |ready| *ready > before + 20).await?;
        let output = producer.terminate().await?;
        assert!(output.code == Some(1) && output.stderr.contains("interrupted"), "{output:?}");
        world.work_until_empty(&[]).await?;
        let closed = format!(
            "SELECT COUNT(*) FROM runs WHERE run = '{run}' AND planned = {}",
            output.json()?["published"]
        );
        assert_eq!(world.count(&closed).await?, planned, "{run}");
    }
    // The checkpoint belongs to another list or to another run.
    let other = world.file("other.txt", &world.pages(2_000)[1..].join("\n"))?;
    let output = world.run(&["produce", "--checkpoint", &checkpoint, &other], "").await?;
    assert!(
        output.code == Some(1)
            && output.stderr.contains("not the one that the checkpoint belongs to"),
        "{output:?}"
    );
    assert_eq!(world.ready("urls").await?, 0);
    let output =
        world.run(&["produce", "--checkpoint", &checkpoint, "--run", "closed", &file], "").await?;
    assert!(
        output.code == Some(2) && output.stderr.contains("it belongs to the run open"),
        "{output:?}"
    );
    std::fs::write(&checkpoint, "no JSON")?;
    let output = world.run(&["produce", "--checkpoint", &checkpoint, &file], "").await?;
    assert!(output.code == Some(2) && output.stderr.contains("cannot be used"), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn the_given_url_is_kept_beside_the_normalised_one() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.shop.url("/p/1");
    let given = format!("{}#top", page.replace("http://", "HTTP://"));
    world.produce("given", &[given.clone(), world.shop.url("/p/2")]).await?;
    world.work_until_empty(&[]).await?;
    let stored: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT url, given_url FROM fetches ORDER BY url")
            .fetch_all(&world.database)
            .await?;
    assert_eq!(stored, [(page, Some(given)), (world.shop.url("/p/2"), None)]);
    Ok(())
}
