//! Worlds follow from their seeds, and workers do in them what they promise.

use fetchline_sim::{Settings, run};

const SETTINGS: Settings =
    Settings { seed: 1, tasks: 100, trouble: true, planted: None, verbose: false };

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 1..=20 {
        let settings = Settings { seed, ..SETTINGS };
        let [first, second] = [run(settings), run(settings)];
        assert!(first.events > 100, "{seed}: {}", first.events);
        let differ = first.latest.iter().zip(&second.latest).find(|(one, other)| one != other);
        assert_eq!((first.hash, first.events), (second.hash, second.events), "{seed}: {differ:?}");
    }
}

#[test]
fn different_seeds_give_different_worlds() {
    let hashes = [1, 2, 3].map(|seed| run(Settings { seed, ..SETTINGS }).hash);
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
}

#[test]
fn without_trouble_each_page_is_requested_once() {
    for seed in 1..=20 {
        let report = run(Settings { seed, trouble: false, ..SETTINGS });
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn nothing_is_lost_in_trouble() {
    for seed in 1..=50 {
        let report = run(Settings { seed, ..SETTINGS });
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
    }
}
