//! URLs of lists, messages and `Location` fields.

use fetchline_queue::Address;
use proptest::prelude::*;

use crate::input;

const PIECES: &[&str] = &[
    "https://",
    "HTTP://",
    "http:/",
    "//",
    "\\",
    "user:secret@",
    "@",
    ":",
    ":443",
    ":0",
    ":99999",
    "[::1]",
    "[::ffff:10.0.0.1]",
    "0x7f.1",
    "127.1",
    "bücher.example",
    "xn--",
    "ß",
    "\u{200b}",
    "..",
    "%2e%2e/",
    "%",
    "%zz",
    "%00",
    "?a=b&c",
    "#top",
    "#",
    ";",
    ",",
    "|",
    " ",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{202e}",
    ".",
    "。",
    "javascript:",
    "file:///etc/passwd",
    "data:,",
    "/",
    "a",
];

#[test]
fn a_normalised_url_stays_as_it_is_and_its_masked_form_has_no_password() -> anyhow::Result<()> {
    input::check("tests/fuzz/corpus/addresses", PIECES, |input| {
        let text = String::from_utf8_lossy(input);
        let address = match Address::parse(&text) {
            Ok(address) => address,
            Err(error) => {
                let shown = error.to_string();
                prop_assert!(shown.len() < 1_000, "an error of {} bytes", shown.len());
                return Ok(());
            }
        };
        let again = Address::parse(address.as_str());
        prop_assert_eq!(again.as_ref().map(Address::as_str), Ok(address.as_str()));
        prop_assert!(address.as_str().starts_with("http"), "{:?}", address);
        prop_assert!(!address.host().is_empty());
        let masked: url::Url = address.masked().parse().unwrap();
        prop_assert!(masked.password().is_none_or(|password| password == "***"), "{}", masked);
        Ok(())
    })
}

#[test]
fn any_location_is_followed_to_an_http_address_or_refused() -> anyhow::Result<()> {
    let base = Address::parse("https://shop.example/a/b?c=d#e").unwrap();
    input::check("tests/fuzz/corpus/addresses", PIECES, |input| {
        if let Ok(next) = base.follow(input) {
            let again = Address::parse(next.as_str());
            prop_assert_eq!(again.as_ref().map(Address::as_str), Ok(next.as_str()));
        }
        Ok(())
    })
}
