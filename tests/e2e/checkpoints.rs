//! A part of a run that is interrupted, and gone on with.

use fetchline_tests::world::World;

/// The numbers of a list with so many lines, of which every hundredth is bad and every twentieth is there twice.
struct List {
    text: String,
    tasks: u64,
    bad: u64,
    doubles: u64,
}

impl List {
    fn new(world: &World, lines: u64) -> Self {
        let mut list = Self { text: String::new(), tasks: 0, bad: 0, doubles: 0 };
        for line in 1..=lines {
            let text = match line {
                line if line % 100 == 0 => {
                    list.bad += 1;
                    format!("ftp://shop.example/{line}")
                }
                line if line % 20 == 1 && line > 1 => {
                    list.doubles += 1;
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
async fn a_long_list_with_bad_and_doubled_lines_comes_to_the_numbers_that_the_run_tells() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = List::new(&world, 5_000);
    let file = world.file("list.txt", &list.text)?;
    let rejects = world.file("rejects.txt", "")?;
    let worker = world.worker(&[])?;
    let produced = world.run(&["produce", "--run", "long", "--json", "--rejects", &rejects, &file], "").await?;
    assert_eq!(produced.code, Some(3), "{produced:?}");
    let summary = produced.json()?;
    for (count, expected) in [("published", list.tasks), ("rejected", list.bad), ("duplicates", list.doubles)] {
        assert_eq!(summary[count], expected, "{count}");
    }
    for line in (100..=5_000).step_by(100) {
        assert!(produced.stderr.contains(&format!("list.txt:{line}: ")), "line {line} is not named");
    }
    assert_eq!(std::fs::read_to_string(&rejects)?.lines().count() as u64, list.bad);
    let waited = world.run(&["status", "--run", "long", "--wait", "--for", "2m", "--json"], "").await?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let run = &waited.json()?["run"];
    assert_eq!((&run["planned"], &run["rows"]), (&list.tasks.into(), &list.tasks.into()));
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_producer_that_is_killed_goes_on_where_the_last_confirmed_line_was() -> anyhow::Result<()> {
    let world = World::new().await?;
    let list = List::new(&world, 6_000);
    let file = world.file("list.txt", &list.text)?;
    let checkpoint = world.file("checkpoint.json", "")?;
    let arguments = ["produce", "--json", "--checkpoint", &checkpoint, "--rate", "1500/s", &file];
    let worker = world.worker(&[])?;
    let mut confirmed = 0;
    for _ in 0..3 {
        let producer = world.start(&arguments)?;
        let far = async || {
            let text = std::fs::read_to_string(&checkpoint)?;
            let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(told["confirmed"]["tasks"].as_u64().unwrap_or(0))
        };
        let before = confirmed;
        confirmed = fetchline_tests::wait::until("more was confirmed", far, |tasks| *tasks > before).await?;
        producer.kill().await?;
    }
    let ended = world.run(&arguments, "").await?;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let summary = ended.json()?;
    let (resumed, published) = (summary["resumed"].as_u64(), summary["published"].as_u64());
    assert!(resumed >= Some(confirmed) && confirmed > 0, "{summary}");
    // Doubles are found also where they stand after the interruption, and the first before it.
    assert_eq!(summary["duplicates"], list.doubles);
    assert_eq!(resumed.zip(published).map(|(resumed, published)| resumed + published), Some(list.tasks));
    assert!(!std::path::Path::new(&checkpoint).exists(), "what is finished is not gone on with");

    let run = summary["run"].as_str().unwrap_or_default();
    let waited = world.run(&["status", "--run", run, "--wait", "--for", "2m", "--json"], "").await?;
    assert_eq!(waited.code, Some(0), "{waited:?}");
    let status = &waited.json()?["run"];
    assert_eq!((&status["planned"], &status["rows"]), (&list.tasks.into(), &list.tasks.into()));
    assert_eq!(world.rows().await?.unsigned_abs(), list.tasks, "every URL has its row, and none has two");
    assert_eq!(world.count("SELECT COUNT(*) FROM runs").await?, 1, "it is one part");
    worker.terminate().await?;
    Ok(())
}

#[tokio::test]
async fn an_interrupted_part_stays_open_with_a_checkpoint_and_is_closed_without() -> anyhow::Result<()> {
    let world = World::new().await?;
    let file = world.file("urls.txt", &world.pages(2_000).join("\n"))?;
    let checkpoint = world.file("checkpoint.json", "")?;
    for (run, flags, planned) in [("open", &["--checkpoint", &checkpoint][..], 0), ("closed", &[], 1)] {
        let arguments = [&["produce", "--json", "--run", run, "--rate", "100/s", &file][..], flags].concat();
        let producer = world.start(&arguments)?;
        let ready = async || world.ready("urls").await;
        let before = world.ready("urls").await?;
        fetchline_tests::wait::until("some messages", ready, |ready| *ready > before + 20).await?;
        let ended = producer.terminate().await?;
        assert!(ended.code == Some(1) && ended.stderr.contains("interrupted"), "{ended:?}");
        world.work_until_empty(&[]).await?;
        let closed =
            format!("SELECT COUNT(*) FROM runs WHERE run = '{run}' AND planned = {}", ended.json()?["published"]);
        assert_eq!(world.count(&closed).await?, planned, "{run}");
    }
    // What was given is another list, or for another run.
    let other = world.file("other.txt", &world.pages(2_000)[1..].join("\n"))?;
    let ended = world.run(&["produce", "--checkpoint", &checkpoint, &other], "").await?;
    assert!(ended.code == Some(1) && ended.stderr.contains("not the one that --checkpoint belongs to"), "{ended:?}");
    assert_eq!(world.ready("urls").await?, 0);
    let ended = world.run(&["produce", "--checkpoint", &checkpoint, "--run", "closed", &file], "").await?;
    assert!(ended.code == Some(2) && ended.stderr.contains("it belongs to the run open"), "{ended:?}");
    std::fs::write(&checkpoint, "no JSON")?;
    let ended = world.run(&["produce", "--checkpoint", &checkpoint, &file], "").await?;
    assert!(ended.code == Some(2) && ended.stderr.contains("cannot be used"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_was_given_is_kept_beside_what_it_is_normalised_to() -> anyhow::Result<()> {
    let world = World::new().await?;
    let page = world.shop.url("/p/1");
    let given = format!("{}#top", page.replace("http://", "HTTP://"));
    world.produce("given", &[given.clone(), world.shop.url("/p/2")]).await?;
    world.work_until_empty(&[]).await?;
    let kept: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT url, given_url FROM fetches ORDER BY url").fetch_all(&world.database).await?;
    assert_eq!(kept, [(page, Some(given)), (world.shop.url("/p/2"), None)]);
    Ok(())
}
