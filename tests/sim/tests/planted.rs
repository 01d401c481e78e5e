//! Each fault that is planted in the workers is found.

use std::time::Duration;

use fetchline_sim::{Fault, Settings, run};

/// The processor time in which a fault has to be found.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn each_planted_fault_is_found() {
    for (fault, name) in Fault::ALL {
        let mut spent = Duration::ZERO;
        let found = (1..).find_map(|seed| {
            let settings =
                Settings { seed, tasks: 100, trouble: true, planted: Some(fault), verbose: false };
            let report = run(settings);
            spent += report.cost;
            assert!(spent < LIMIT, "{name} is not found by {seed} seeds");
            report.violations.first().cloned().map(|violation| (seed, violation))
        });
        println!("{name}: {:.1} s, {found:?}", spent.as_secs_f64());
    }
}
