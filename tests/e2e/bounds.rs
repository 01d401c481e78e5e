//! What a worker holds stays within bounds, whatever sites send.

use fetchline_tests::world::World;

#[tokio::test]
async fn endless_bodies_and_bombs_by_the_hundred_stay_within_the_budget() -> anyhow::Result<()> {
    let world = World::new().await?;
    let endless = (0..300).map(|id| world.shop.url(&format!("/endless/{id}")));
    let bombs = (0..300).map(|id| world.shop.url(&format!("/bomb/gzip/{id}")));
    let urls: Vec<String> = endless.chain(bombs).collect();
    world.produce("bounds", &urls).await?;
    let flags: Vec<String> =
        std::env::var("BFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let start = std::time::Instant::now();
    let summary = world.work_until_empty(&flags).await?;
    eprintln!("{:?} {summary:#}", start.elapsed());
    Ok(())
}
