//! What the run is for: the products that its pages contain, and what has changed of them.

use fetchline_store::{Change, ChangeKind, Changes, Outcome, ProductCounts, Report};

use super::figure::Figure;
use super::numbers::{at_least, count, percent};
use crate::changes::{after, before, describe_kind, format_percent};
use crate::coverage;
use crate::table::or_dash;

/// The maximum number of changes of each kind on a page.
pub(crate) const MAX_CHANGES: usize = 50;
const MAX_HOSTS: usize = 30;

/// The pages of one host by what they contain.
pub(super) struct HostProducts<'a> {
    pub(super) name: &'a str,
    pub(super) coverage: String,
    pub(super) percent: f64,
    pub(super) found: String,
    pub(super) suspect: String,
    pub(super) no_price: String,
    pub(super) none: String,
}

/// The changes of one kind.
pub(super) struct ChangeTable<'a> {
    pub(super) title: &'static str,
    pub(super) count: String,
    pub(super) has_percent: bool,
    pub(super) has_before: bool,
    pub(super) after_heading: &'static str,
    pub(super) rows: Vec<ChangeRow<'a>>,
    /// Says how many changes are not shown; empty if all are.
    pub(super) note: String,
}

/// One change.
pub(super) struct ChangeRow<'a> {
    pub(super) name: &'a str,
    pub(super) page: &'a str,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) percent: String,
    pub(super) is_up: bool,
}

/// The numbers of pages and changes; empty if no page was examined.
pub(super) fn figures(report: &Report, changes: Option<&Changes>) -> Vec<Figure> {
    let products = report.products;
    let unchanged = report.outcomes.get(Outcome::Unchanged.as_str()).copied().unwrap_or(0);
    let has_changes = changes.is_some_and(|changes| !changes.counts.is_empty());
    if products.pages() + unchanged == 0 && !has_changes {
        return Vec::new();
    }
    let ProductCounts { found, suspect, no_price, none } = products;
    let pages = match products.pages() {
        0 => String::new(),
        pages => format!("{} of {} pages", coverage::share(products), count(pages)),
    };
    let mut figures = vec![
        Figure::new("Products found", count(found), pages),
        Figure::new("Without a price", count(no_price), String::new()),
        Figure::new("No product", count(none), String::new()),
    ];
    if suspect > 0 {
        let note = "the page contradicts the price".to_owned();
        figures.insert(1, Figure::new("Suspect", count(suspect), note));
    }
    if unchanged > 0 {
        figures.push(Figure::new("Unchanged", count(unchanged), "not examined again".to_owned()));
    }
    let Some(changes) = changes else { return figures };
    let of = |kind| at_least(changes.count(kind), u64::from(changes.is_truncated));
    let note = |kind: ChangeKind| format!("{} {}", of(kind), describe_kind(kind));
    figures.extend([
        Figure::new("Prices up", of(ChangeKind::PriceUp), String::new()),
        Figure::new("Prices down", of(ChangeKind::PriceDown), String::new()),
        Figure::new("New", of(ChangeKind::New), note(ChangeKind::Back)),
        Figure::new("Vanished", of(ChangeKind::Vanished), note(ChangeKind::PriceLost)),
        Figure::new("Out of stock", of(ChangeKind::OutOfStock), note(ChangeKind::InStock)),
    ]);
    figures
}

/// The hosts, those with the most pages without a sure price first.
pub(super) fn hosts(report: &Report) -> Vec<HostProducts<'_>> {
    let row = |(name, host): (_, &fetchline_store::HostReport)| {
        let ProductCounts { found, suspect, no_price, none } = host.products;
        HostProducts {
            name,
            coverage: coverage::share(host.products),
            percent: percent(found, host.products.pages()),
            found: at_least(found, host.max_missing),
            suspect: count(suspect),
            no_price: count(no_price),
            none: count(none),
        }
    };
    coverage::hosts(report).into_iter().take(MAX_HOSTS).map(row).collect()
}

/// The changes by kind; kinds without a change are missing.
pub(super) fn tables(changes: &Changes) -> Vec<ChangeTable<'_>> {
    let table = |kind: ChangeKind| {
        let rows: Vec<&Change> =
            changes.changes.iter().filter(|change| change.kind == kind).collect();
        let rest = changes.count(kind) - rows.len() as u64;
        let note = match rest {
            0 => String::new(),
            rest => format!(
                "The first {MAX_CHANGES} are shown, and {} more are not: `fetchline items \
                 changes` lists them.",
                count(rest)
            ),
        };
        let is_price = matches!(kind, ChangeKind::PriceUp | ChangeKind::PriceDown);
        ChangeTable {
            title: title(kind),
            count: at_least(changes.count(kind), u64::from(changes.is_truncated)),
            has_percent: is_price,
            has_before: rows.iter().any(|change| before(change).is_some()),
            after_heading: match kind {
                ChangeKind::New | ChangeKind::Back => "Price",
                ChangeKind::Vanished | ChangeKind::PriceLost => "",
                _ => "After",
            },
            rows: rows.into_iter().map(ChangeRow::new).collect(),
            note,
        }
    };
    let kinds = ChangeKind::ALL.into_iter().filter(|kind| changes.count(*kind) > 0);
    kinds.map(table).collect()
}

fn title(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::PriceUp => "Prices up",
        ChangeKind::PriceDown => "Prices down",
        ChangeKind::Currency => "Prices in another currency",
        ChangeKind::New => "New products",
        ChangeKind::Vanished => "Vanished products",
        ChangeKind::PriceLost => "Products without the price",
        ChangeKind::Back => "Products that are back",
        ChangeKind::OutOfStock => "Out of stock",
        ChangeKind::InStock => "In stock again",
    }
}

impl<'a> ChangeRow<'a> {
    fn new(change: &'a Change) -> Self {
        Self {
            name: change.name.as_deref().unwrap_or("(no name)"),
            page: &change.source_url,
            before: or_dash(before(change)),
            after: after(change).unwrap_or_default(),
            percent: change.percent().map(format_percent).unwrap_or_default(),
            is_up: change.kind == ChangeKind::PriceUp,
        }
    }
}
