//! Rows that the database refuses, and pages that never come.

use fetchline_tests::dead;
use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};

#[tokio::test]
async fn a_poison_row_amid_good_ones_costs_its_neighbours_nothing() -> anyhow::Result<()> {
    let mut trial = Trial::new("poison-rows", seed()).await?;
    trial.poison().await?;
    // Between two thirds of the good ones: no batch has only bad rows.
    let (good, poisonous) = (trial.urls("/p/", 600), trial.poisonous(5));
    trial.produce(&good[..400], Fate::OK).await?;
    trial.produce(&poisonous, Fate::REFUSED).await?;
    trial.produce(&good[400..], Fate::OK).await?;
    let world = trial.world.clone();
    let fleet = Fleet::direct(&world).await?;
    trial.finish(fleet).await?;

    for letter in dead::letters(&world).await? {
        assert_eq!(letter.reason, "refused");
        assert!(letter.error.contains("poisoned"), "the database's reason: {letter:?}");
    }
    let bare =
        "SELECT COUNT(*) FROM fetches WHERE outcome = 'refused' AND body_text IS NULL AND error LIKE '%poisoned%'";
    assert_eq!(world.count(bare).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_page_that_never_comes_is_given_up_and_the_others_are_not_held_up() -> anyhow::Result<()> {
    let mut trial = Trial::new("given-up", seed()).await?;
    let (good, failing) = (trial.urls("/slow/50/", 400), trial.urls("/status/500/", 20));
    let (flaky, gone) = (trial.urls("/flaky/1/", 20), trial.urls("/status/404/", 20));
    trial.produce(&failing, Fate::GIVEN_UP).await?;
    trial.produce(&good, Fate::OK).await?;
    trial.produce(&flaky, Fate::OK_AT_LAST).await?;
    trial.produce(&gone, Fate::HTTP_ERROR).await?;
    let world = trial.world.clone();
    let fleet = Fleet::direct(&world).await?;
    trial.finish(fleet).await?;

    for letter in dead::letters(&world).await? {
        assert_eq!(letter.reason, "http_error", "{letter:?}");
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM fetches WHERE attempts = 3 AND status = 500").await?, 20);
    Ok(())
}
