//! What the text of a page says, and which of its amounts is the price.

use rust_decimal::Decimal;
use url::Url;

use super::{
    candidate::{self, Candidate},
    context::Context,
    evidence::Evidence,
    money::Money,
    page::Page,
    page_kind::{self, Sign},
    stock,
    surroundings::Surroundings,
    title::{self, Title},
    tree::Tree,
};
use crate::{
    availability,
    price::{self, Amount, currency},
};

/// Candidates that are compared. What is further from the title is not the price.
const MAX_COMPARED: usize = 12;

/// How much further than the nearest candidate a confirmed one may be.
const MAX_DETOUR: usize = 30;

/// How far from the title an amount may be that is not named as a price.
const MAX_PLAIN: usize = 23;

/// Currency symbols that several currencies share.
const SHARED_SYMBOLS: &[&str] =
    &["$", "＄", "¥", "￥", "£", "Rs", "kr", "Kr", "Dhs", "Dh", "DHS", "DH", "درهم"];

/// How far from the title the one of several offers may be that the page shows.
const MAX_OFFERED: usize = 16;

/// A price that a page shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) price: Decimal,
    pub(crate) currency: Option<&'static str>,
    pub(crate) is_confirmed: bool,
    /// A name of schema.org.
    pub(crate) availability: Option<&'static str>,
}

/// What was read of the text of a page.
pub(crate) struct Reading {
    pub(super) title: Option<Title>,
    pub(super) signs: Vec<Sign>,
    pub(super) candidates: Vec<Candidate>,
    /// What the page calls the elements of the candidates.
    pub(super) paths: Vec<String>,
    evidence: Evidence,
    address: Url,
    /// Whether a structured source says that the page is that of a product.
    is_product: bool,
    /// Whether a structured source or the page says that the product is sold out.
    is_sold_out: bool,
    /// Whether the page says that the price is available on request.
    is_on_request: bool,
    /// A name of schema.org, as the page shows it near the title.
    availability: Option<&'static str>,
}

/// Reads the text of a page.
pub(crate) fn read(page: &Page<'_>) -> Reading {
    let mut evidence = Evidence::default();
    let tree = Tree::read(page.html, |tag| evidence.add_tag(tag));
    let mut reading = Reading {
        title: None,
        signs: Vec::new(),
        candidates: Vec::new(),
        paths: Vec::new(),
        evidence,
        address: page.address.clone(),
        is_product: page.is_product,
        is_sold_out: page.is_sold_out,
        is_on_request: false,
        availability: None,
    };
    let Some(title) = title::find(&tree, page) else { return reading };
    let mut surroundings = Surroundings::new(&tree, page.address, title.end);
    reading.signs = page_kind::signs(&tree, page, &title, &mut surroundings);
    reading.candidates =
        candidate::find(&tree, &title, &reading.evidence, &mut surroundings, page.is_product);
    let compared = reading.candidates.iter().take(MAX_COMPARED);
    reading.paths = compared.map(|one| path(&tree, one.element)).collect();
    let mut after_title = tree.texts.iter().skip(title.end).take(40);
    reading.is_on_request =
        after_title.any(|text| text.text.len() < 80 && price::is_on_request(text.text));
    reading.availability = stock::find(&tree, &title, &mut surroundings);
    reading.is_sold_out |= reading.availability.is_some_and(availability::is_unavailable);
    reading.title = Some(title);
    reading
}

/// Names an element by its tag and class, and by those of the element around it.
fn path(tree: &Tree<'_>, element: usize) -> String {
    let mut names: Vec<String> = tree
        .path(element)
        .take(3)
        .map(|index| {
            let element = &tree.elements[index];
            let class = element.names.class.split_ascii_whitespace().next();
            class.map_or(element.tag.to_owned(), |class| format!("{}.{class}", element.tag))
        })
        .collect();
    names.reverse();
    names.join(" > ")
}

impl Reading {
    /// Returns the price, if the page shows one product with one price.
    pub(crate) fn price(&self) -> Option<Shown> {
        let title = self.title.as_ref()?;
        let (at, is_confirmed) = self.chosen()?;
        let candidate = &self.candidates[at];
        Some(Shown {
            name: title.text.clone(),
            price: candidate.money.value,
            currency: self.currency(candidate),
            is_confirmed,
            availability: self.availability,
        })
    }

    /// Returns the main heading.
    pub(crate) fn heading(&self) -> Option<&str> {
        let title = self.title.as_ref().filter(|title| title.is_heading);
        title.map(|title| title.text.as_str())
    }

    /// Returns the first of some prices that the page shows as the one to pay.
    pub(crate) fn shown_one(&self, prices: &[Decimal]) -> Option<Decimal> {
        let shown = |is_eligible: fn(&Candidate) -> bool| {
            let mut eligible = self.candidates.iter().take(MAX_COMPARED).filter(|c| is_eligible(c));
            eligible.find_map(|c| prices.iter().find(|price| **price == c.money.value)).copied()
        };
        shown(|c| c.contexts.is_empty()).or_else(|| shown(|c| c.contexts.is_weak()))
    }

    /// Returns the one of the other amounts of an offer that the page shows as its price, if it
    /// does not show the first amount as well.
    pub(crate) fn offered_one(&self, first: Amount, others: &[Amount]) -> Option<Amount> {
        let (at, _) = self.chosen()?;
        let shown = &self.candidates[at];
        let is_clear = shown.is_price && !shown.is_in_sentence && shown.distance <= MAX_OFFERED;
        let is_shown = |one: &Candidate| one.contexts.is_weak() && one.is_price;
        let is_first_shown = || {
            let compared = self.candidates.iter().take(MAX_COMPARED);
            compared.filter(|one| is_shown(one)).any(|one| self.is_amount(one, first))
        };
        let mut same = others.iter().filter(|other| self.is_amount(shown, **other));
        same.next().copied().filter(|_| is_clear && !is_first_shown())
    }

    /// Whether a candidate is an amount, by its number and what its currency may be.
    fn is_amount(&self, one: &Candidate, amount: Amount) -> bool {
        let may_be = |code: &'static str| {
            let symbol = shared_symbol(&one.money).and_then(currency::at_start);
            let is_shared = symbol.is_some_and(|symbol| {
                currency::at_start(code).is_some_and(|code| symbol.is_resolved_by(&code))
            });
            is_shared || self.currency(one).is_none_or(|own| own == code)
        };
        one.money.value == amount.value && amount.currency.is_none_or(may_be)
    }

    /// Returns the price that the page shows, if a price for machines is only shown as a former or
    /// a net one, or not at all, and if it is the same one with its point in another place.
    pub(crate) fn correction(&self, price: Decimal) -> Option<Shown> {
        let shown = self.price()?;
        let has_point_elsewhere = [Decimal::ONE_THOUSAND, Decimal::new(1, 2)]
            .iter()
            .any(|factor| price * factor == shown.price);
        let mut same = self.candidates.iter().filter(|one| one.money.value == price).peekable();
        let is_other = match same.peek() {
            None => has_point_elsewhere,
            Some(_) => same.all(|one| {
                one.contexts.contains(Context::Former) && shown.price < price
                    || one.contexts.contains(Context::Net) && shown.price > price
            }),
        };
        is_other.then_some(shown)
    }

    /// Returns the currency in which the page shows a price.
    pub(crate) fn currency_of(&self, price: Decimal) -> Option<&'static str> {
        let mut same = self.candidates.iter().filter(|one| one.money.value == price);
        same.find_map(|one| self.currency(one))
    }

    /// Whether the page shows several products and no price of its own. `has_image` says that a
    /// source describes them as one product with an image.
    pub(crate) fn is_list(&self, has_image: bool) -> bool {
        let repeated = self.candidates.iter().filter(|c| c.contexts.contains(Context::Repeated));
        let (count, buys) = (repeated.count(), self.signs.contains(&page_kind::BUYS));
        self.price().is_none()
            && self.candidates.iter().all(|one| !one.contexts.is_empty())
            && (count >= 3 && !has_image || count >= 2 && !buys)
    }

    /// Whether the page shows several products, and something else says that it is not that of one.
    pub(crate) fn is_another_list(&self) -> bool {
        self.is_list(true) && self.signs.iter().any(|(_, points)| *points < 0)
    }

    /// Whether the page is named as that of another kind.
    pub(crate) fn is_of_another_kind(&self) -> bool {
        self.signs.contains(&page_kind::NAMED_OTHERWISE)
    }

    fn points(&self) -> i32 {
        self.signs.iter().map(|(_, points)| points).sum()
    }

    /// Returns the index of the chosen candidate, and whether it is confirmed.
    pub(super) fn chosen(&self) -> Option<(usize, bool)> {
        let eligible = |is_eligible: fn(&Candidate) -> bool| {
            let found = self.candidates.iter().enumerate();
            found.filter(|(_, c)| is_eligible(c) && c.money.value > Decimal::ZERO).collect()
        };
        let mut candidates: Vec<(usize, &Candidate)> = eligible(|c| c.contexts.is_empty());
        if candidates.is_empty() {
            candidates = eligible(|c| c.contexts.is_weak());
        }
        let nearest = candidates.first()?.1;
        let compared = candidates.iter().take(MAX_COMPARED);
        let confirmed = compared.clone().find(|(_, candidate)| {
            candidate.key.is_some() && candidate.distance <= nearest.distance + MAX_DETOUR
        });
        if let Some((at, _)) = confirmed {
            return (self.points() >= page_kind::ENOUGH - 1).then_some((*at, true));
        }
        let at = candidates[0].0;
        let others = || candidates.iter().map(|(_, one)| *one);
        self.is_safe(nearest, others).then_some((at, false))
    }

    /// Whether an amount that no number for machines confirms is the price.
    fn is_safe<'c, I: Iterator<Item = &'c Candidate>>(
        &self,
        nearest: &Candidate,
        others: impl Fn() -> I,
    ) -> bool {
        let is_only = others()
            .all(|one| one.money.value == nearest.money.value || nearest.is_converted_by(one));
        let is_unopposed = others().all(|one| !nearest.is_opposed_by(one));
        // Where a source or a button says that it is a product, the page may say its currency.
        let can_buy = self.is_product || self.signs.contains(&page_kind::BUYS);
        let has_currency =
            nearest.money.has_currency || can_buy && is_only && self.currency(nearest).is_some();
        let is_named = nearest.is_price && has_currency;
        let is_below_title = self.title.as_ref().is_some_and(|title| title.is_heading);
        let is_near = |texts: usize| is_below_title && nearest.distance <= texts;
        // Below another heading, the price may be that of something else.
        let is_below_heading = nearest.is_below_heading && !self.is_product;
        // Themes call a price regular, or without tax, that is the only one.
        let mut lone = [Context::Regular, Context::Net, Context::Payment].into_iter();
        let is_lone =
            is_only && nearest.is_price && lone.any(|context| nearest.contexts.is_only(context));
        if is_below_heading || self.is_on_request || !nearest.contexts.is_empty() && !is_lone {
            return false;
        }
        let has_no_doubt = self.signs.iter().all(|(_, points)| *points > 0);
        // Fees and salaries stand below a heading as well: it takes a sign of a product.
        let has_sign = self.points() > 0;
        let bonus =
            if is_named && is_only && is_near(8) && has_no_doubt && has_sign { 3 } else { 0 };
        let is_product_page = self.points() + bonus >= page_kind::ENOUGH;
        // An amount that is not named as a price has to be the only one, next to the title, and
        // alone in its line: a sentence may be about any amount. What is sold out is not sold for
        // it.
        // Beside an amount that is named as a price, even as a regular one, it is something else.
        let is_beside_named = self.candidates.iter().any(|one| {
            one.is_price
                && one.contexts.is_weak()
                && !one.contexts.contains(Context::Hidden)
                && one.distance < nearest.distance
                && one.money.value != nearest.money.value
        });
        let is_plain = is_only
            && !is_beside_named
            && can_buy
            && !self.is_sold_out
            && nearest.is_alone
            && has_currency
            && is_near(MAX_PLAIN)
            && has_no_doubt;
        is_product_page && (is_named && is_unopposed || is_plain)
    }

    /// Returns the currency of a candidate. Where its symbol is that of several, the page decides.
    pub(super) fn currency(&self, candidate: &Candidate) -> Option<&'static str> {
        let money = &candidate.money;
        match shared_symbol(money).and_then(currency::at_start) {
            Some(symbol) => {
                let fits = |code: &'static str| {
                    currency::at_start(code).is_some_and(|code| symbol.is_resolved_by(&code))
                };
                let local = || {
                    let amount = Amount { value: money.value, currency: money.currency };
                    price::localize(amount, &money.text, &self.address).currency
                };
                let of_language = || self.evidence.currency_of_language(fits);
                let named = self.evidence.currency(fits);
                named
                    .or_else(|| local().filter(|code| Some(*code) != money.currency))
                    .or_else(of_language)
                    .or(money.currency)
            }
            None => money.currency.or_else(|| self.evidence.currency(|_| true)).or_else(|| {
                let host = self.address.host_str().unwrap_or_default();
                self.evidence.currency_of_country(host)
            }),
        }
    }
}

/// Returns the symbol of an amount, if it is that of several currencies.
fn shared_symbol(money: &Money) -> Option<&'static str> {
    let is_in = |symbol: &&&str| {
        let at = money.text.find(**symbol);
        at.is_some_and(|at| !money.text[..at].ends_with(char::is_alphabetic))
    };
    SHARED_SYMBOLS.iter().find(is_in).copied()
}
