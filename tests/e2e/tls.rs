//! Sites over TLS: whom a worker trusts, what it resumes, and how it tells what is wrong.

use std::path::PathBuf;

use fetchline_tests::authority::Authority;
use fetchline_tests::name_server::{Behaviour, NameServer};
use fetchline_tests::tls_site::TlsSite;
use fetchline_tests::world::World;

/// An authority, and its file.
fn authority(world: &World) -> anyhow::Result<(Authority, String)> {
    let authority = Authority::new("inner authority")?;
    let file = world.file("inner-ca.pem", &authority.pem())?;
    Ok((authority, file))
}

fn folder(file: &str, name: &str) -> PathBuf {
    PathBuf::from(file).with_file_name(name)
}

#[tokio::test]
async fn sessions_of_many_hosts_are_resumed_with_an_inner_authority() -> anyhow::Result<()> {
    const HOSTS: usize = 400;
    let world = World::new().await?;
    let names = NameServer::start(Behaviour::Answer).await?;
    let (authority, file) = authority(&world)?;
    let folder = folder(&file, "many");
    authority.certify("*.shop.example", &folder)?;
    let site = TlsSite::start(&folder).await?;
    let urls: Vec<String> = (0..2 * HOSTS)
        .map(|n| format!("https://host-{}.shop.example:{}/{n}", n % HOSTS, site.port()))
        .collect();
    world.produce("many", &urls).await?;
    let summary = world
        .work_until_empty(&["--dns-server", &names.address(), "--ca", &file, "--per-host", "1"])
        .await?;
    assert_eq!(summary["ok"], 2 * HOSTS);
    let (full, resumed) = site.handshakes();
    assert!(full >= HOSTS && resumed * 10 >= HOSTS * 9, "{full} full and {resumed} resumed");
    Ok(())
}

#[tokio::test]
async fn the_row_says_what_is_wrong_with_a_certificate() -> anyhow::Result<()> {
    let world = World::new().await?;
    let names = NameServer::start(Behaviour::Answer).await?;
    let (authority, file) = authority(&world)?;
    let mut urls = Vec::new();
    for (name, host, year) in [
        ("expired", "expired.example", Some(2020)),
        ("other", "another.example", None),
        ("sound", "sound.example", None),
    ] {
        authority.certify_until(host, year, &folder(&file, name))?;
        let site = TlsSite::start(&folder(&file, name)).await?;
        urls.push(format!("https://{name}.example:{}/", site.port()));
    }
    let stranger = folder(&file, "stranger");
    Authority::new("stranger")?.certify("stranger.example", &stranger)?;
    let site = TlsSite::start(&stranger).await?;
    urls.push(format!("https://stranger.example:{}/", site.port()));
    urls.push(world.shop.url("/p/1").replace("http:", "https:"));
    world.produce("broken", &urls).await?;
    let flags = ["--dns-server", &names.address(), "--ca", &file, "--max-attempts", "1"];
    let summary = world.work_until_empty(&flags).await?;
    assert_eq!((&summary["ok"], &summary["outcomes"]["tls"]), (&1.into(), &4.into()));
    for (host, error) in [
        ("expired", "the site''s certificate has expired%"),
        ("other", "the site''s certificate is for another host: for another.example, not for %"),
        ("stranger", "the issuer of the site''s certificate is unknown%"),
        ("127.0.0.1", "the site does not speak TLS at this port%"),
    ] {
        let row = format!(
            "SELECT COUNT(*) FROM fetches WHERE url LIKE 'https://{host}%' AND error LIKE '{error}'"
        );
        assert_eq!(world.count(&row).await?, 1, "{host}");
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_without_its_authorities_does_not_start() -> anyhow::Result<()> {
    let world = World::new().await?;
    let empty = world.file("empty.pem", "")?;
    for (file, error) in [(&*empty, "it contains no certificate"), ("/no/such.pem", "cannot")] {
        let refused = world.run(&["work", "--ca", file], "").await?;
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(error) && refused.stderr.contains(file), "{refused:?}");
    }
    Ok(())
}
