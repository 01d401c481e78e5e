//! A page whose text is read.

use url::Url;

/// A page, and what its markup says.
pub(crate) struct Page<'a> {
    pub(crate) html: &'a str,
    pub(crate) address: &'a Url,
    /// The titles that the page states, without the name of the site where it is known.
    pub(crate) titles: Vec<String>,
    pub(crate) site: Option<&'a str>,
    /// The name of the product, if a structured source has it.
    pub(crate) name: Option<&'a str>,
    /// Whether a structured source says that the page is that of a product.
    pub(crate) is_product: bool,
    /// Whether a structured source says that the product is sold out.
    pub(crate) is_sold_out: bool,
    /// The content of `og:type`, in lower case.
    pub(crate) og_type: String,
    pub(crate) json_ld: &'a [&'a str],
}
