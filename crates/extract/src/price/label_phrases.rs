//! The phrases that say what an amount is, in the languages of large shops. All are in lower case;
//! one that ends with `*` may be the start of a word.

use std::{collections::HashMap, sync::LazyLock};

/// What an amount is, other than the price.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Meaning {
    /// What was paid before, or what the manufacturer recommends.
    Former,
    /// The usual price, which is paid if there is no other.
    Regular,
    /// A price without tax, for members, or of a used thing, which counts if there is no other.
    Partial,
    /// A price that is said to be that of a sale, or to be with tax: then others do not count.
    Preferred,
    /// What is saved.
    Saving,
    /// What is paid in addition, such as shipping or a deposit.
    Charge,
    /// One of several payments.
    Instalment,
}

/// On which side of an amount a phrase is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Before,
    After,
    Either,
}

/// Phrases of one meaning, separated by bars.
struct Group {
    meaning: Meaning,
    side: Side,
    phrases: &'static str,
}

/// A phrase in a text.
pub(crate) struct Phrase {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) meaning: Meaning,
    pub(crate) side: Side,
    /// The first one of [`ALL`] counts where a text has several.
    pub(super) precedence: usize,
}

/// The phrases of [`ALL`] and their precedence, by their first character.
static BY_FIRST: LazyLock<HashMap<char, Vec<(&str, usize)>>> = LazyLock::new(|| {
    let mut by_first: HashMap<char, Vec<_>> = HashMap::new();
    for (precedence, group) in ALL.iter().enumerate() {
        for phrase in group.phrases.split('|') {
            by_first
                .entry(phrase.chars().next().unwrap_or_default())
                .or_default()
                .push((phrase, precedence));
        }
    }
    by_first
});

/// Finds the phrases in a text in lower case.
pub(crate) fn find_all(text: &str) -> impl Iterator<Item = Phrase> + '_ {
    let starts = word_starts(text).flat_map(move |(start, first)| {
        BY_FIRST.get(&first).into_iter().flatten().map(move |phrase| (start, phrase))
    });
    starts.filter_map(move |(start, &(phrase, precedence))| {
        let end = start + phrase_length(&text[start..], phrase)?;
        let Group { meaning, side, .. } = ALL[precedence];
        Some(Phrase { start, end, meaning, side, precedence })
    })
}

/// Returns where the last of the phrases [`SALE`] ends.
pub(super) fn end_of_sale(text: &str) -> Option<usize> {
    let end = |(start, _): (usize, char)| {
        let length = |phrase| phrase_length(&text[start..], phrase);
        Some(start + SALE.split('|').filter_map(length).max()?)
    };
    word_starts(text).filter_map(end).last()
}

/// Returns each position at which a word may start. Scripts without spaces have words anywhere.
fn word_starts(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let mut is_in_word = false;
    text.char_indices().filter(move |&(_, c)| {
        let starts = !is_in_word || is_ideograph(c);
        is_in_word = c.is_alphabetic();
        starts
    })
}

/// Returns the length of a phrase if the text starts with it.
fn phrase_length(text: &str, phrase: &str) -> Option<usize> {
    let stem = phrase.trim_end_matches('*');
    let rest = text.strip_prefix(stem)?;
    let ends_word = stem.len() < phrase.len()
        || stem.ends_with(|c: char| !c.is_alphabetic() || is_ideograph(c))
        || !rest.starts_with(char::is_alphabetic);
    ends_word.then_some(stem.len())
}

fn is_ideograph(c: char) -> bool {
    c >= '\u{2e80}'
}

/// Characters that separate what is said about one amount from what is said about the next.
pub(super) const DELIMITERS: [char; 9] = ['(', ')', ',', ';', '|', '%', '·', '•', '…'];

/// Words after which an amount is what is paid now.
const SALE: &str = "\
    now|jetzt|nur|heute|only|today|sale price|discount price|discounted price|special price|\
    rabattpreis|angebotspreis|ahora|oferta|con descuento|com desconto|avec remise|maintenant|\
    seulement|solo|sólo|adesso|ora|nu|voor|teraz|tylko|nyní|teď|most|akció*|сейчас|теперь|\
    nyt|nå|por|agora|apenas|şimdi|特価|セール価格|现价|現價|促销价|券后价";

/// Words that say that a charge is not due.
pub(super) const FREE: &str = "\
    free kostenlos kostenlose kostenloser kostenfrei frei gratis versandkostenfrei gratuit \
    gratuite gratuito gratuita offert offerte grátis zdarma darmowa darmowy darmowe бесплатная \
    бесплатно ingyenes ücretsiz 無料 免费 免运费 包邮 무료";

/// Words before an amount from which on a charge is not due.
pub(super) const THRESHOLDS: &str =
    "ab über over above from dès desde da od von vanaf powyżej nad от fra från från";

/// Words between an amount and what it is for.
pub(super) const LINKS: &str = "\
    for für de d of pour per pro par frais a al ao au im je por the na za в w kosten in";

/// Words that say that an amount includes something.
pub(super) const INCLUDED: &str = "\
    inkl inkl. incl incl. including includes included inclusive inclus incluso incluido incluye \
    con com mit avec with w vč včetně enthält contains";

/// Words before an additional amount.
pub(super) const OPENERS: &str = "plus zzgl inkl incl inc excl exkl hors más mais oltre dont dazu";

/// Words between a number of pieces and their price.
pub(super) const PIECES: &str = "\
    stk stück st pcs pc pieces units pièces uds unidades pezzi stuks szt ks шт db for für pour";

/// Words for a tax after its amount.
pub(super) const TAXES: &str = "vat mwst ust tva iva btw moms mva gst tax dph";

/// Words before a former price and the price after it.
pub(super) const PAIRS: [(&str, &str); 3] = [("de", "por"), ("van", "voor"), ("von", "auf")];

const ALL: &[Group] = &[
    Group { meaning: Meaning::Preferred, side: Side::Before, phrases: SALE_PRICE },
    Group { meaning: Meaning::Instalment, side: Side::Before, phrases: INSTALMENT_BEFORE },
    Group { meaning: Meaning::Instalment, side: Side::After, phrases: INSTALMENT_AFTER },
    Group { meaning: Meaning::Former, side: Side::Before, phrases: FORMER_BEFORE },
    Group { meaning: Meaning::Former, side: Side::Either, phrases: FORMER },
    Group { meaning: Meaning::Former, side: Side::After, phrases: FORMER_AFTER },
    Group { meaning: Meaning::Saving, side: Side::Before, phrases: SAVING_BEFORE },
    Group { meaning: Meaning::Saving, side: Side::After, phrases: SAVING_AFTER },
    Group { meaning: Meaning::Charge, side: Side::Either, phrases: CHARGE },
    Group { meaning: Meaning::Charge, side: Side::After, phrases: CHARGE_AFTER },
    Group { meaning: Meaning::Partial, side: Side::Either, phrases: PARTIAL },
    Group { meaning: Meaning::Regular, side: Side::Before, phrases: REGULAR },
    Group { meaning: Meaning::Preferred, side: Side::After, phrases: GROSS_AFTER },
    Group { meaning: Meaning::Preferred, side: Side::Either, phrases: GROSS },
];

const SALE_PRICE: &str = "\
    offer price|our price|sale price|special price|deal price|new price|angebotspreis|sonderpreis|\
    aktionspreis|aktueller preis|neuer preis|verkaufspreis|prix promo|prix soldé|nouveau prix|\
    precio oferta|precio de oferta|precio rebajado|precio promocional|prezzo scontato|\
    preço promocional|aanbiedingsprijs|cena promocyjna|akční cena|akciová cena|akciós ár|\
    цена со скидкой|цена по акции|indirimli fiyat|yeni fiyat|kampanjpris|tilbudspris|\
    tarjoushinta|セール価格|特価|할인가|促销价|现价|現價";

const INSTALMENT_BEFORE: &str = "\
    payments of|payment of|payments from|instalment*|installment*|monthly|p.m|finance from|\
    financing from|pay in 4|pay in 3|raten|rate ab|monatsrate|monatlich*|ratenzahlung|mtl|\
    mensualité*|fois|cuota*|mensualidad*|meses de|meses sin|meses sem|parcela*|vezes|prestações|\
    prestação|rate da|rate mensili|rata mensile|termijn*|raty|rata|rat po|rat od|splátk*|splátek|\
    splátok|részlet*|rate de|rate lunare|рассрочк*|платеж*|платёж*|частями|taksit*|aylık|delbetal*|\
    avbetal*|afdrag|leasing*|leasen|mieten|lease|rent from|miete|月々|月額|月付|分割|回払い|月供|分期|\
    每期|每月|월|개월|할부";

const INSTALMENT_AFTER: &str = "\
    month*|mo|mth|monat*|mon|mtl|mois|mese|mensil*|mensuel*|mes|mês|mensual*|mensais|mensal|maand*|\
    p/m|pm|mies|miesiąc|miesięcznie|msc|měs|měsíc*|měsíčn*|mesačne|mesiac|hó|hónap|havonta|lună|\
    lunar|kk|kuukaus*|mån|månad*|måned*|md|mnd|mdr|ay|мес|месяц|міс|місяць|месечно|μήνα|月|월|week|\
    wk|weekly|woche|semaine|semana|settimana|tydzień|týden|vecka|неделю|instalment*|installment*|\
    cuotas|raten|taksit";

const FORMER_BEFORE: &str = "\
    was|before|previously|originally|original price|orig|retail|former price|old price|list price|\
    typical price|compare at|compare-at price|comp. value|instead of|reduced from|marked down from|\
    lowest price|last 30 days|vorher|bisher|bislang|früher*|ehemals|alter preis|statt|anstatt|\
    listenpreis|ursprünglich*|letzten 30 tage|letzten 30 tagen|30-tage*|niedrigster preis|\
    au lieu de|avant|ancien prix|prix barré|prix conseillé|derniers jours|derniers 30 jours|\
    30 derniers jours|antes|precio anterior|precio original|en lugar de|últimos 30 días|\
    últimos 30 dias|preço anterior|prezzo precedente|prezzo originale|invece di|anziché|prima|era|\
    ultimi 30 giorni|adviesprijs|oude prijs|was|laatste 30 dagen|zamiast|poprzednia cena|\
    stara cena|cena katalogowa|najniższa cena|cena przed|przed promocją|przed obniżką|z 30 dni|\
    původně|původní cena|místo|namísto|\
    doporučená cena|posledních 30 dní|pôvodná cena|namiesto|eredeti ár|régi ár|preț vechi|\
    în loc de|prp|вместо|замість|было|старая цена|стара ціна|стара цена|було|eski fiyat*|\
    liste fiyatı|ord. pris|ordinarie pris|tidigare|senaste 30 dagarna|før|førpris|før pris|\
    vejl. pris|veil. pris|siste 30 dager|norm.|ovh|定価|参考価格|小売価格|通常価格から|原价|原價|市场价|市場價|\
    专柜价|划线价|정가|소비자가|מחיר קודם|قبل";

const FORMER: &str = "\
    uvp|rrp|msrp|srp|pvpr|avp|unverb. preisempf*|unverbindliche preisempfehlung|list price|\
    retail price";

const FORMER_AFTER: &str = "helyett|yerine|rrp|uvp";

const SAVING_BEFORE: &str = "\
    save|save up to|you save|saving*|sparen sie|sie sparen|du sparst|spare|ersparnis|rabatt|\
    économisez|économie|remise|réduction|ahorra*|ahorro|descuento|risparmi*|sconto|poupa*|poupe|\
    economize|desconto|bespaar*|korting|oszczędzasz|oszczędź|rabat|ušetříte|sleva|zľava|ušetríte|\
    megtakarítás|kedvezmény|economisești|reducere|скидка|экономия|знижка|отстъпка|indirim|spara|\
    du sparar|säästä|säästät|discount|割引|値引|お得|优惠|立减|할인|cashback";

const SAVING_AFTER: &str = "\
    off|rabatt|sparen|gespart|réduction|économie|descuento|desconto|sconto|korting|taniej|скидка|\
    indirim|割引|オフ|discount|cashback|saved|savings|saving|rabais|remise|sleva|cheaper|günstiger";

const CHARGE: &str = "\
    shipping*|delivery*|postage|p&p|s&h|handling|freight|versand*|liefer*|porto|livraison|\
    frais de port|envío|envio|gastos de envío|spedizione|verzend*|bezorg*|dostaw*|wysył*|przesyłk*|\
    doprav*|poštovné|szállítás*|livrare|доставк*|kargo|frakt|fraktkostnad|fragt|toimitus*|送料|运费|\
    運費|배송비|pfand*|deposit|consigne|statiegeld|pant|kaucj*|záloh*|anzahlung|down payment|\
    upfront|acompte|apport|entrada inicial|activation*|aktivierung*|anschlusspreis|setup fee|\
    service fee|fee|trade-in|trade in|ankauf*|inzahlung*|buyback|we buy*|we pay*|\
    mindestbestellwert|minimum order|mindermengenzuschlag|zuschlag|surcharge|eco-participation|\
    éco-participation|d'éco-participation|écotaxe|ecotax|eco-part|dont|davon|of which|recupel|\
    bebat|warranty|versicherung|insurance|montage|installation|gebühr*|engangsgebyr|depósito|\
    cauzione|caparra";

const CHARGE_AFTER: &str = "down|einmalig*|due at signing|setup|activation";

const PARTIAL: &str = "\
    netto*|net|excl. vat|excl vat|ex vat|ex. vat|exc vat|exc. vat|excluding vat|excl. tax|ex tax|\
    ex gst|excl. gst|plus vat|+ vat|zzgl. mwst|zzgl. ust|exkl. mwst|ohne mwst|exkl. moms|exkl moms|\
    ekskl. moms|eks. mva|excl. btw|ex. btw|hors taxe*|ht|bez dph|iva escl*|iva esclusa|sin iva|\
    sem iva|bez vat|без ндс|税抜|税別|本体価格|本体|member price|member*|with card|\
    used|used from|buy used|gebraucht|refurbished|open box|with clubcard|with membership|\
    for members|clubcard*|mitgliederpreis|prix adhérent";

const GROSS_AFTER: &str = "\
    inc vat|inc. vat|incl vat|incl. vat|including vat|inc gst|inc. gst|incl. gst|inkl. mwst|\
    inkl mwst|incl. btw|inkl. moms|ttc|s dph|iva incl*|с ндс|tax included|tax incl*";

const GROSS: &str = "brutto|税込";

const REGULAR: &str = "\
    regular price|regular|reg. price|reg.|reg|normal price|normalpreis|normaler preis|\
    prix habituel|prix normal|precio habitual|precio regular|precio normal|prezzo di listino|\
    prezzo normale|preço normal|normale prijs|cena regularna|běžná cena|bežná cena|通常価格|\
    обычная цена|pvp|mrp|m.r.p|precio de lista|originalpreis|regulärer preis|정상가";
