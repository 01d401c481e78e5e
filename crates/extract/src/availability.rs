//! Availability by the names of schema.org.

/// Names of schema.org's `ItemAvailability`, by that name or a synonym in lower case without
/// spaces.
const NAMES: &[(&str, &str)] = &[
    ("instock", "InStock"),
    ("available", "InStock"),
    ("true", "InStock"),
    ("yes", "InStock"),
    ("outofstock", "OutOfStock"),
    ("oos", "OutOfStock"),
    ("unavailable", "OutOfStock"),
    ("false", "OutOfStock"),
    ("no", "OutOfStock"),
    ("soldout", "SoldOut"),
    ("preorder", "PreOrder"),
    ("presale", "PreSale"),
    ("backorder", "BackOrder"),
    ("availablefororder", "BackOrder"),
    ("discontinued", "Discontinued"),
    ("instoreonly", "InStoreOnly"),
    ("onlineonly", "OnlineOnly"),
    ("limitedavailability", "LimitedAvailability"),
    ("lowstock", "LimitedAvailability"),
    ("madetoorder", "MadeToOrder"),
    ("reserved", "Reserved"),
];

/// Parts of sentences in lower case, in the order in which they count: "not available" contains
/// "available".
const PHRASES: &[(&str, &str)] = &[
    (
        "PreOrder",
        "pre-order|preorder|pre order|vorbestell|précommande|préventa|preventa|pré-venda|\
         pré-encomenda|preordina|предзаказ|przedsprzeda|předobjedn|förbeställ|förhandsboka|予約",
    ),
    (
        "BackOrder",
        "backorder|back-order|back order|nachbestellt|auf bestellung|sur commande|bajo pedido|\
         sob encomenda|su ordinazione|op bestelling|na zamówienie|na objednávku|под заказ|\
         取り寄せ",
    ),
    (
        "OutOfStock",
        "out of stock|out-of-stock|sold out|unavailable|no stock|temporarily out|nicht mehr|\
         ausverkauft|vergriffen|épuisé|rupture|indisponible|plus en stock|plus de stock|\
         plus disponible|agotado|sin stock|sin existencias|esgotado|indisponível|fora de estoque|\
         sem stock|esaurit|uitverkocht|brak w magazynie|niedostępn|wyprzedan|vyprodán|nedostupn|\
         nincs készlet|elfogyott|stoc epuizat|indisponibil|nu este în stoc|nu este in stoc|\
         нет на складе|распродан|tükendi|stokta yok|stokta değil|slutsåld|slut i lager|udsolgt|\
         utsolgt|loppuunmyyty|loppu|εξαντλ|在庫なし|在庫切れ|在庫ありません|売り切れ|品切れ|完売|缺货|\
         缺貨|无货|無貨|无现货|没有现货|無現貨|沒有現貨|售罄|품절|재고 없음|نفد|אזל",
    ),
    (
        "LimitedAvailability",
        "only a few|few left|low stock|last items|last pieces|nur noch|wenige|dernières pièces|\
         derniers articles|últimas unidades|ultimi pezzi|laatste stuks|ostatnie sztuki|\
         poslední kus|残りわずか|仅剩",
    ),
    (
        "InStock",
        "in stock|in-stock|available|ready to ship|ships today|auf lager|lieferbar|verfügbar|\
         vorrätig|en stock|disponible|en existencia|disponibile|disponível|em estoque|em stock|\
         op voorraad|leverbaar|beschikbaar|dostępn|w magazynie|na stanie|skladem|skladom|\
         na sklade|raktáron|készleten|în stoc|in stoc|в наличии|есть на складе|в наявності|stokta|\
         i lager|på lager|varastossa|διαθέσιμ|在庫あり|有货|有貨|现货|現貨|재고 있음|구매 가능|متوفر|\
         متاح|במלאי",
    ),
];

/// Words in lower case that turn what follows them into its opposite: `Ya no está disponible`. Those
/// that mean something else in another language (`plus`, `nu`) stand in phrases.
const NEGATIONS: &[&str] = &[
    "not",
    "no",
    "isn't",
    "isn’t",
    "nicht",
    "kein",
    "keine",
    "pas",
    "aucun",
    "non",
    "não",
    "nao",
    "niet",
    "geen",
    "nie",
    "není",
    "brak",
    "nem",
    "nincs",
    "не",
    "нет",
    "немає",
    "няма",
    "ej",
    "inte",
    "ikke",
    "ei",
    "eivät",
    "μη",
    "δεν",
    "غير",
    "ليس",
    "לא",
    "אין",
];

/// Words before a phrase among which a negation counts.
const MAX_WORDS: usize = 4;

/// Returns the schema.org name for a URL of the vocabulary (`https://schema.org/InStock`) or for
/// text with the same meaning (`out_of_stock`, `Nur noch 3 auf Lager`).
pub(crate) fn normalize(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_end_matches('/');
    let is_link = text.contains("//") || text.starts_with("schema:");
    let last = if is_link { text.rsplit(['/', '#', ':']).next().unwrap_or(text) } else { text };
    let word: String = last
        .chars()
        .take(40)
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let name = NAMES.iter().find(|(known, _)| *known == word).map(|(_, name)| *name);
    name.or_else(|| {
        let text = text.get(..text.floor_char_boundary(MAX_TEXT))?.to_lowercase();
        let says_any = |phrases: &str| phrases.split('|').any(|phrase| text.contains(phrase));
        let says = |(name, phrases): &&(&str, &str)| {
            says_any(phrases) || *name == "OutOfStock" && negates_stock(&text)
        };
        PHRASES.iter().filter(|_| !is_link).find(says).map(|(name, _)| *name)
    })
}

/// Whether a text in lower case has a phrase for a thing in stock after a negation.
fn negates_stock(text: &str) -> bool {
    let in_stock = PHRASES.iter().filter(|(name, _)| *name == "InStock");
    let mut phrases = in_stock.flat_map(|(_, phrases)| phrases.split('|'));
    phrases.any(|phrase| text.match_indices(phrase).any(|(at, _)| is_negated(&text[..at])))
}

/// Whether one of the last words of a text is a negation. A comma and a number end its reach.
fn is_negated(before: &str) -> bool {
    let ends = |word: &str| {
        word.ends_with(['.', ',', ';', ':', '!', '?', ')'])
            || word.contains(|c: char| c.is_ascii_digit())
            || !word.contains(char::is_alphabetic)
    };
    let words = before.split_whitespace().rev().take(MAX_WORDS);
    words.take_while(|word| !ends(word)).any(|word| NEGATIONS.contains(&word))
}

/// Bytes of a text that are searched for a phrase.
const MAX_TEXT: usize = 400;

/// Whether a thing with a [normalized](normalize) availability cannot be ordered.
pub(crate) fn is_unavailable(name: &str) -> bool {
    matches!(name, "OutOfStock" | "SoldOut" | "Discontinued")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_words_become_names_of_schema_org() {
        for (text, expected) in [
            ("https://schema.org/InStock", Some("InStock")),
            ("http://schema.org/OutOfStock/", Some("OutOfStock")),
            ("//schema.org/InStock", Some("InStock")),
            ("//schema.org/outofstock", Some("OutOfStock")),
            ("http://schema.org#SoldOut", Some("SoldOut")),
            ("schema:PreOrder", Some("PreOrder")),
            ("/InStock", Some("InStock")),
            ("InStock", Some("InStock")),
            ("instock", Some("InStock")),
            (" in stock ", Some("InStock")),
            ("OUT_OF_STOCK", Some("OutOfStock")),
            ("oos", Some("OutOfStock")),
            ("Sold out", Some("SoldOut")),
            ("true", Some("InStock")),
            ("https://schema.org/Novelty", None),
            ("https://shop.example/available-items/17", None),
            ("Green tea from Japan", None),
            ("", None),
        ] {
            assert_eq!(normalize(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sentences_become_names_of_schema_org() {
        for (text, expected) in [
            ("In stock - ships within 24 hours", "InStock"),
            ("Only 3 left in stock", "InStock"),
            ("Currently not available", "OutOfStock"),
            ("This item is out of stock.", "OutOfStock"),
            ("Auf Lager, Lieferzeit 1-3 Tage", "InStock"),
            ("Sofort lieferbar", "InStock"),
            ("Derzeit nicht lieferbar", "OutOfStock"),
            ("Nur noch 2 Stück auf Lager", "LimitedAvailability"),
            ("En stock", "InStock"),
            ("Rupture de stock", "OutOfStock"),
            ("Agotado temporalmente", "OutOfStock"),
            ("Non disponibile", "OutOfStock"),
            ("Op voorraad", "InStock"),
            ("Produkt niedostępny", "OutOfStock"),
            ("Skladem > 5 ks", "InStock"),
            ("Není skladem", "OutOfStock"),
            ("Нет в наличии", "OutOfStock"),
            ("Есть в наличии", "InStock"),
            ("在庫あり", "InStock"),
            ("품절", "OutOfStock"),
            ("Jetzt vorbestellen", "PreOrder"),
            ("Plus en stock", "OutOfStock"),
            ("Ce produit n'est plus en stock", "OutOfStock"),
            ("Pas en stock", "OutOfStock"),
            ("Plus de 10 en stock", "InStock"),
            ("Ya no está disponible", "OutOfStock"),
            ("No disponible", "OutOfStock"),
            ("Non più disponibile", "OutOfStock"),
            ("Não disponível", "OutOfStock"),
            ("No longer in stock", "OutOfStock"),
            ("This item isn't currently available", "OutOfStock"),
            ("No minimum, in stock", "InStock"),
            ("Derzeit leider nicht auf Lager", "OutOfStock"),
            ("Momenteel niet op voorraad", "OutOfStock"),
            ("Nu op voorraad", "InStock"),
            ("Produkt nie jest dostępny", "OutOfStock"),
            ("Brak na stanie", "OutOfStock"),
            ("Nem elérhető, nincs raktáron", "OutOfStock"),
            ("Nu este în stoc", "OutOfStock"),
            ("Сейчас не в наличии", "OutOfStock"),
            ("Немає в наявності", "OutOfStock"),
            ("Finns inte i lager", "OutOfStock"),
            ("Ikke på lager", "OutOfStock"),
            ("Ei varastossa", "OutOfStock"),
            ("Δεν είναι διαθέσιμο", "OutOfStock"),
            ("غير متاح", "OutOfStock"),
            ("לא במלאי", "OutOfStock"),
            ("在庫ありません", "OutOfStock"),
            ("没有现货", "OutOfStock"),
        ] {
            assert_eq!(normalize(text), Some(expected), "{text:?}");
        }
    }
}
