//! `fetchline bot-keys`.

use std::path::PathBuf;

use fetchline_worker::key_directory;
use serde_json::Value;

use crate::args;
use crate::exit::{self, Done, Result};
use crate::schema::shape::{field, list, object, text, word};

/// Print the public keys with which sites check signed requests, as a JSON directory. Publish it
/// below the URL of `work --signature-agent`, at /.well-known/http-message-signatures-directory,
/// with the type application/http-message-signatures-directory+json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// PEM files with Ed25519 keys: the one of `work --sign-requests`, and others that follow or
    /// precede it
    #[arg(value_name = "FILE", env = "FETCHLINE_SIGN_REQUESTS", required = true)]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result {
    let keys = args.files.iter().map(|file| args::bot_key(file));
    let keys = keys.collect::<std::result::Result<Vec<_>, _>>()?;
    exit::print(serde_json::to_string_pretty(&key_directory(&keys))?);
    Ok(Done::Whole)
}

/// The shape of the directory: JSON Web Keys (RFC 7517, RFC 8037).
pub(crate) fn schema() -> Value {
    let key = object([
        field("kty", word("The type of the key.", ["OKP"])),
        field("crv", word("The curve.", ["Ed25519"])),
        field("kid", text("The thumbprint of the key (RFC 7638).")),
        field("x", text("The public key, in base64url.")),
        field("use", word("What the key is for.", ["sig"])),
    ]);
    object([field("keys", list(key))])
}
