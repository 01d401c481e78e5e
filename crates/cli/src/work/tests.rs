use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn config(flags: &[&str]) -> WorkerConfig {
    let flags = ["work"].iter().chain(flags);
    Command::try_parse_from(flags).unwrap().args.into_config("pod-1".to_owned()).unwrap()
}

#[test]
fn the_defaults_of_the_flags_are_those_of_the_library() {
    let library = WorkerConfig::new("pod-1");
    assert_eq!(format!("{:?}", config(&["--listen", "off"])), format!("{library:?}"));
}

#[test]
fn a_header_is_a_name_and_a_value() {
    let fetch = config(&["--header", "DNT: 1", "--header", "X-Shop:a: b "]).fetch;
    assert_eq!(
        (&fetch.visitor.headers["dnt"], &fetch.visitor.headers["x-shop"]),
        (&HeaderValue::from_static("1"), &HeaderValue::from_static("a: b"))
    );
    for wrong in ["hunter2", ": hunter2", "a b: hunter2", "x: hunter2\u{e9}\r"] {
        let Err(Failure::Usage(error)) = headers(&[wrong.to_owned().into()]) else {
            panic!("{wrong}")
        };
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let mut problems = config(&["--header", "Host: a.example"]).problems();
    let problem = args::with_flags(&problems.remove(0).to_string());
    assert_eq!(problem, "--header has host, which the worker sets itself");
}

#[test]
fn a_problem_names_flags() {
    let problems = config(&["--grace", "10s", "--memory-budget", "61MiB"]).problems();
    let Failure::Usage(error) = usage(Error::Config(problems)) else {
        panic!("not an error of usage")
    };
    assert_eq!(
        error.to_string(),
        "--memory-budget is 61 MiB: with a --max-body of 10 MiB it has to be at least 124 MiB\n\
         --grace has to be above --timeout, so that a stopping worker can finish what it has \
         begun"
    );
}

#[test]
fn a_crawler_that_obeys_robots_txt_has_a_name() {
    let problems = |flags: &[&str]| config(&[&["--robots", "obey"], flags].concat()).problems();
    assert_eq!(problems(&[]), Vec::new());
    let named = "Mozilla/5.0 (compatible; PriceBot/2.1; +https://bot.example/about)";
    assert_eq!(problems(&["--user-agent", named]), Vec::new());
    for nameless in ["Mozilla/5.0 (X11; Linux x86_64)", "123", "", "(+https://bot.example)"] {
        let found = problems(&["--user-agent", nameless]);
        let Failure::Usage(error) = usage(Error::Config(found)) else { panic!("{nameless}") };
        let text = error.to_string();
        assert!(text.starts_with("--user-agent names no crawler"), "{nameless}: {text}");
        assert!(text.ends_with("or set --robots-token"), "{text}");
        let token = ["--user-agent", nameless, "--robots-token", "PriceBot"];
        assert_eq!(problems(&token), Vec::new(), "{nameless}");
        let ignored = config(&["--robots", "ignore", "--user-agent", nameless]).problems();
        assert_eq!(ignored, Vec::new(), "{nameless}");
    }
}

#[test]
fn every_setting_that_a_problem_may_name_is_a_flag() {
    use clap::CommandFactory;
    let mut broken = WorkerConfig::new("pod-1");
    broken.grace = Duration::ZERO;
    broken.consume.prefetch = Some(100_000);
    broken.schedule = ScheduleConfig { concurrency: 0, per_host: 0 };
    broken.write =
        WriteConfig { batch_rows: 0, batch_bytes: 0, batch_age: Duration::from_secs(61) };
    broken.fetch.timeout = Duration::ZERO;
    broken.fetch.memory_budget = 0;
    broken.fetch.dns_timeout = Duration::ZERO;
    broken.fetch.dns_concurrency = 1;
    broken.fetch.robots_token = Some("bot/1".to_owned());
    broken.execute.retry_delays = Vec::new();
    broken.execute.max_attempts = 0;
    broken.revalidate.revalidate_full_every = 0;
    let problems = broken.problems();
    assert_eq!(problems.len(), 17, "{problems:?}");
    let help = Command::command().render_long_help().to_string();
    for problem in problems {
        let text = args::with_flags(&problem.to_string());
        let flags = text.split_whitespace().filter(|word| word.starts_with("--"));
        for flag in flags.map(|flag| flag.trim_end_matches([',', ':'])) {
            assert!(help.contains(flag), "{flag} is not a flag");
        }
        assert!(!text.contains('`'), "{text}");
    }
}
