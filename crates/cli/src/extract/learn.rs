//! `extract --learn`.

use std::path::{Path, PathBuf};

use fetchline_extract::{Lesson, Sample};
use rust_decimal::Decimal;
use serde_json::json;
use url::Url;

use crate::exit::{self, Done, Failure, Result};

/// The host of a page whose URL is not known.
const UNKNOWN_HOST: &str = "page.invalid";

/// Learns a rule and prints it. Its result for each page goes to standard error.
pub(super) fn run(files: &[(PathBuf, Decimal)], url: &Url, json: bool) -> Result {
    let samples = files
        .iter()
        .map(|(file, price)| sample(file, *price, url))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let host = host(&samples)?;
    let Some(lesson) = fetchline_extract::learn(&host, &samples) else {
        return Err(Failure::from(anyhow::anyhow!(
            "no element, attribute or value of the pages has their prices; \
             check the prices, or whether the pages get them from a script"
        )));
    };
    let is_right = |(found, sample): &(&Option<Decimal>, &Sample)| **found == Some(sample.price);
    let right = lesson.found.iter().zip(&samples).filter(is_right).count();
    report(files, &lesson);
    exit::print(match json {
        true => {
            let pages = files.iter().zip(&lesson.found);
            let pages: Vec<_> = pages
                .map(|((file, price), found)| {
                    json!({ "file": file, "price": price, "found": found })
                })
                .collect();
            json!({ "host": host, "rule": lesson.toml, "pages": pages }).to_string()
        }
        false => {
            let comment = format!("# Learned from {} pages, right on {right}.", samples.len());
            format!("{comment}\n{}", lesson.toml.trim_end())
        }
    });
    Ok(if right == samples.len() { Done::Whole } else { Done::InputRejected })
}

fn sample(file: &Path, price: Decimal, url: &Url) -> std::result::Result<Sample, Failure> {
    let page = super::read(file, url.clone())?;
    let content = fetchline_extract::read(page.content_type.as_deref(), page.body);
    let mut address = page.url;
    if address.host_str() == Some(UNKNOWN_HOST) {
        address = fetchline_extract::canonical_url(&content, &address).unwrap_or(address);
    }
    Ok(Sample { content, address, price })
}

/// Returns the host of all pages.
fn host(samples: &[Sample]) -> std::result::Result<String, Failure> {
    let mut hosts: Vec<&str> = samples.iter().filter_map(|s| s.address.host_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    match hosts[..] {
        [host] if host != UNKNOWN_HOST => Ok(host.to_owned()),
        [_] => Err(Failure::usage(anyhow::anyhow!(
            "the pages do not say which host they are from; say it with --url https://HOST/"
        ))),
        _ => Err(Failure::usage(anyhow::anyhow!(
            "the pages are from several hosts ({}); learn a rule for one at a time",
            hosts.join(", ")
        ))),
    }
}

fn report(files: &[(PathBuf, Decimal)], lesson: &Lesson) {
    for ((file, price), found) in files.iter().zip(&lesson.found) {
        let verdict = match found {
            Some(found) if found == price => "right".to_owned(),
            Some(found) => format!("{found}, not {price}"),
            None => format!("nothing, not {price}"),
        };
        exit::note(format_args!("{}: {verdict}", file.display()));
    }
}
