//! Placeholders, and the values that are bound to them.

use sqlx::Arguments;
use sqlx::mysql::MySqlArguments;

/// `element` repeated `count` times and separated by commas.
pub(crate) fn list(element: &str, count: usize) -> String {
    vec![element; count].join(",")
}

/// Binds the keys of tasks.
pub(crate) fn bind_keys<'a>(
    keys: impl IntoIterator<Item = &'a [u8; 16]>,
) -> sqlx::Result<MySqlArguments> {
    let mut arguments = MySqlArguments::default();
    for key in keys {
        arguments.add(key.as_slice()).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
