//! `fetchline body`.

use anyhow::anyhow;

use crate::args::GlobalArgs;
use crate::exit::{self, Done, Failure, Result};

/// Print the stored body of a row, decompressed
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The `id` of the row in hexadecimal, as in SELECT HEX(id) FROM fetches
    #[arg(value_name = "ID", env = "FETCHLINE_ID", value_parser = id)]
    id: [u8; 16],
}

pub(crate) async fn run(global: GlobalArgs, args: Args) -> Result {
    let store = global.migrated_store().await?;
    let shown = hex::encode(args.id);
    let body = store.body(&args.id).await?;
    let body = body.ok_or_else(|| Failure::from(anyhow!("no row has the id {shown}")))?;
    if body.is_empty() {
        return Err(anyhow!("the row {shown} has no body").into());
    }
    exit::print_bytes(&body);
    Ok(Done::Whole)
}

/// Hexadecimal digits, with or without the hyphens of a UUID.
fn id(text: &str) -> std::result::Result<[u8; 16], String> {
    let mut id = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut id)
        .map(|()| id)
        .map_err(|_| "an id has 32 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_32_hexadecimal_digits() {
        let expected = Ok([0xAB; 16]);
        assert_eq!(id(&"aB".repeat(16)), expected);
        assert_eq!(id("abababab-abab-abab-abab-abababababab"), expected);
        for wrong in ["", "ab", "0x", &"ab".repeat(17), &"xy".repeat(16)] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }
}
