//! A page to look at.

use std::collections::BTreeMap;

use fetchline_store::{Part, Report, Reported, Run};
use time::{Duration, OffsetDateTime};

const ROWS: u64 = 5_000;
const HOSTS: [&str; 9] = [
    "www.tea-and-coffee.example",
    "shop.example",
    "api.warehouse.example",
    "outlet.example:8443",
    "slow.example",
    "xn--bcher-kva.example",
    "m.example",
    "a-very-long-name-of-a-shop-that-sells-everything.example",
    "x.example",
];

/// A number that looks like chance, below 1.
fn chance(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rows as a shop's night has them: waves, one host that is slow, one that fails for a while.
fn take(report: &mut Report, begin: OffsetDateTime, turn: u64) {
    let part = turn as f64 / ROWS as f64;
    let host = (chance(turn).powi(2) * HOSTS.len() as f64) as usize;
    let fails = chance(turn ^ 0xf00d) < if host == 3 && (0.4..0.5).contains(&part) { 0.9 } else { 0.03 };
    let (outcome, status, error) = match (fails, turn % 11) {
        (false, _) => ("ok", Some(200), None),
        (true, 0..=2) => ("http_error", Some(404), Some("404 Not Found")),
        (true, 3..=5) => ("http_error", Some(503), Some("503 Service Unavailable")),
        (true, 6 | 7) => ("timeout", None, Some("not finished within 30 s")),
        (true, 8) => ("dns", None, Some("error sending request: dns error: no record found for <b>\"shop\"</b>")),
        (true, 9) => ("blocked", None, Some("10.20.0.7 is a private address (--allow-network opens it)")),
        (true, _) => ("too_large", Some(200), Some("the body has more than 10 MiB")),
    };
    let slow = if HOSTS[host].starts_with("slow") { 12.0 } else { 1.0 };
    let elapsed = if outcome == "timeout" { 30_000.0 } else { 25.0 * slow * 30_f64.powf(chance(turn ^ 0xcafe)) };
    let second = 1_320.0 * (part + 0.035 * (part * 19.0).sin());
    let url = format!(
        "https://{}/catalogue/category/{}/products/{turn}?ref=nightly&session=0123456789abcdef&utm_source=list",
        HOSTS[host],
        turn % 17
    );
    report.take(&Reported {
        url: &url,
        outcome,
        status,
        elapsed_ms: elapsed as u32,
        fetched_at: begin + Duration::seconds_f64(second.max(0.0)),
        bytes: if outcome == "ok" { 20_000 + turn * 11 } else { 0 },
        attempts: if fails { 4 } else { 1 },
        error,
    });
}

/// Writes pages to the folder of temporary files: how a page looks, only a person can tell.
#[test]
#[ignore = "writes pages to look at"]
fn pages_to_look_at() {
    let begin = OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_795_572_601);
    let run = |rows| Run {
        parts: vec![Part {
            part: "p1".to_owned(),
            planned: Some(rows),
            rows,
            created_at: begin,
            closed_at: Some(begin),
            cancelled_at: None,
        }],
        outcomes: BTreeMap::new(),
        asked_at: begin,
    };
    let (mut whole, mut single) = (Report::default(), Report::default());
    (0..ROWS).for_each(|turn| take(&mut whole, begin, turn));
    take(&mut single, begin, 0);
    for (name, rows, report) in [("whole", ROWS, &whole), ("single", 1, &single), ("empty", 0, &Report::default())] {
        let file = std::env::temp_dir().join(format!("fetchline-report-{name}.html"));
        std::fs::write(&file, super::html("nightly", &run(rows), report).unwrap()).unwrap();
        println!("{}", file.display());
    }
}
