//! Rows that the database refuses, and pages that always fail.

use fetchline_tests::dead_letters;
use fetchline_tests::fleet::Fleet;
use fetchline_tests::trial::{Fate, Trial, seed};

#[tokio::test]
async fn refused_rows_do_not_affect_their_neighbours() -> anyhow::Result<()> {
    let mut trial = Trial::new("poison-rows", seed()).await?;
    trial.refuse_product().await?;
    // The refused URLs are among the good ones, so that no batch has only refused rows.
    let (good, refused) = (trial.urls("/p/", 600), trial.refused_urls(5));
    trial.produce(&good[..400], Fate::OK).await?;
    trial.produce(&refused, Fate::REFUSED).await?;
    trial.produce(&good[400..], Fate::OK).await?;
    let world = trial.world.clone();
    let fleet = Fleet::direct(&world).await?;
    trial.finish(fleet).await?;

    for letter in dead_letters::peek(&world).await? {
        assert_eq!(letter.reason, "refused");
        assert!(letter.error.contains("poisoned"), "the database's reason: {letter:?}");
    }
    let bare = "SELECT COUNT(*) FROM fetches \
                WHERE outcome = 'refused' AND body_text IS NULL AND error LIKE '%poisoned%'";
    assert_eq!(world.count(bare).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_page_that_always_fails_is_given_up_and_delays_no_other() -> anyhow::Result<()> {
    let mut trial = Trial::new("given-up", seed()).await?;
    let (good, failing) = (trial.urls("/slow/50/", 400), trial.urls("/status/500/", 20));
    let (flaky, gone) = (trial.urls("/flaky/1/", 20), trial.urls("/status/404/", 20));
    trial.produce(&failing, Fate::GIVEN_UP).await?;
    trial.produce(&good, Fate::OK).await?;
    trial.produce(&flaky, Fate::OK_AFTER_RETRY).await?;
    trial.produce(&gone, Fate::HTTP_ERROR).await?;
    let world = trial.world.clone();
    let fleet = Fleet::direct(&world).await?;
    trial.finish(fleet).await?;

    for letter in dead_letters::peek(&world).await? {
        assert_eq!(letter.reason, "http_error", "{letter:?}");
    }
    assert_eq!(
        world.count("SELECT COUNT(*) FROM fetches WHERE attempts = 3 AND status = 500").await?,
        20
    );
    Ok(())
}
