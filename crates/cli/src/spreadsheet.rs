//! CSV for spreadsheets.

use serde_json::Value;

/// A line of headings, and a line for each document with the values of these fields.
pub(crate) fn csv<const N: usize>(
    headings: [&str; N],
    documents: &[Value],
) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(headings)?;
    for document in documents {
        writer.write_record(headings.map(|heading| cell(&document[heading])))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A spreadsheet would run it as a formula, and the text comes from a site.
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => {
            format!("'{text}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_sites_are_no_formulas() {
        let documents = [json!({ "a": "=1+1", "b": -3.5 }), json!({ "a": "x,\"y\"", "b": null })];
        let text = csv(["a", "b"], &documents).unwrap();
        assert_eq!(text, "a,b\n'=1+1,-3.5\n\"x,\"\"y\"\"\",\n");
    }
}
