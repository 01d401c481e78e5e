//! Lists the migrations, so that the crate embeds them. The macro of the client library would do
//! the same, but it needs the whole library a second time, for the compiler's own machine.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let files = fs::read_dir(root.join("migrations"))?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<io::Result<_>>()?;
    files.sort();
    let list: String = files.iter().map(|file| entry(file)).collect::<io::Result<_>>()?;
    let target = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("migrations.rs");
    fs::write(target, format!("&[{list}]"))
}

/// A migration as version, description and SQL, from a file such as `0001_fetches.sql`.
fn entry(file: &Path) -> io::Result<String> {
    let name = file.file_stem().and_then(|name| name.to_str());
    let parts = name.and_then(|name| name.split_once('_'));
    let parsed = parts.and_then(|(version, what)| Some((version.parse::<i64>().ok()?, what)));
    let (version, description) =
        parsed.ok_or_else(|| io::Error::other(format!("{file:?} is not named like 0001_x.sql")))?;
    Ok(format!("({version}, {description:?}, include_str!({file:?})),\n"))
}
