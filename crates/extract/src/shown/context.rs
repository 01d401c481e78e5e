//! What surrounds a price, and why that makes it another price than the one to pay.

/// What an element, or a label before a price, says about the price.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Context {
    /// Struck through, a list price, or a price of the past.
    Former,
    /// For a unit of measure.
    Unit,
    Shipping,
    /// A part of the price, or a rate.
    Instalment,
    /// Of another product: recommended, similar, sponsored.
    Related,
    /// The total of a cart.
    Cart,
    /// What a discount takes off, or gives back.
    Saving,
    /// Within a review, a question or a rating.
    Review,
    /// Of an option, or what an option adds.
    Option,
    /// From a number of pieces on.
    Quantity,
    /// A menu, a footer or a filter.
    Navigation,
    /// Within a dialog or a template.
    Dialog,
    /// A deposit or a fee.
    Deposit,
    /// Within a link to another page.
    Link,
    /// One of several elements of the same kind, each with a price.
    Repeated,
    /// The price before a discount, or the only one.
    Regular,
    /// Without tax.
    Net,
    /// For members or subscribers.
    Member,
    /// For a used one, or for renting it.
    Used,
    /// Hidden from view, or until something is chosen.
    Hidden,
    /// What an order has to come to.
    Threshold,
    /// The number of the product, and no amount.
    Number,
    /// For those who pay in a certain way, such as in advance.
    Payment,
}

impl Context {
    const ALL: [(Self, &'static str); 23] = [
        (Self::Former, "former price"),
        (Self::Unit, "unit price"),
        (Self::Shipping, "shipping"),
        (Self::Instalment, "instalment"),
        (Self::Related, "related product"),
        (Self::Cart, "cart"),
        (Self::Saving, "saving"),
        (Self::Review, "review"),
        (Self::Option, "option"),
        (Self::Quantity, "quantity discount"),
        (Self::Navigation, "navigation"),
        (Self::Dialog, "dialog"),
        (Self::Deposit, "deposit"),
        (Self::Link, "link to another page"),
        (Self::Repeated, "one of a list"),
        (Self::Regular, "regular price"),
        (Self::Net, "net price"),
        (Self::Member, "member price"),
        (Self::Used, "used or rented"),
        (Self::Hidden, "hidden"),
        (Self::Threshold, "order threshold"),
        (Self::Number, "number of the product"),
        (Self::Payment, "for a way of payment"),
    ];

    /// These exclude a price only where there is another one without them.
    const WEAK: Contexts = Contexts(
        Self::Regular.bit()
            | Self::Net.bit()
            | Self::Member.bit()
            | Self::Used.bit()
            | Self::Hidden.bit()
            | Self::Payment.bit(),
    );

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Contexts(u32);

impl Contexts {
    pub(super) fn insert(&mut self, context: Context) {
        self.0 |= context.bit();
    }

    pub(super) fn remove(&mut self, context: Context) {
        self.0 &= !context.bit();
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn contains(self, context: Context) -> bool {
        self.0 & context.bit() != 0
    }

    pub(super) fn contains_any(self, contexts: &[Context]) -> bool {
        contexts.iter().any(|context| self.contains(*context))
    }

    /// Whether nothing speaks against a price.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this is all that speaks against a price.
    pub(super) fn is_only(self, context: Context) -> bool {
        self.0 == context.bit()
    }

    /// Whether a price may count if there is no better one.
    pub(super) fn is_weak(self) -> bool {
        self.0 & !Context::WEAK.0 == 0
    }

    /// Returns what the contexts are called in an explanation.
    pub(super) fn names(self) -> Vec<&'static str> {
        Context::ALL.iter().filter(|(own, _)| self.contains(*own)).map(|(_, name)| *name).collect()
    }
}

impl FromIterator<Context> for Contexts {
    fn from_iter<I: IntoIterator<Item = Context>>(contexts: I) -> Self {
        let mut set = Self::default();
        contexts.into_iter().for_each(|context| set.insert(context));
        set
    }
}
