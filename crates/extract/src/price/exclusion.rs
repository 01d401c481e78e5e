//! Signs in the text around a number that it is not a price, or not the price of the whole.

use super::{
    currency,
    words::{first_word, last_word, list_contains},
};

/// Phrases for a price that is available on request, separated by bars.
const ON_REQUEST: &str = "\
    on request|upon request|on application|request a quote|call for|call us|ask for price|\
    ask for a quote|contact us|contact for|enquire|inquire|\
    auf anfrage|preis anfragen|auf nachfrage|kontaktieren sie uns|\
    sur demande|nous consulter|sur devis|nous contacter|\
    a consultar|consultar precio|bajo consulta|a petición|sob consulta|su richiesta|op aanvraag|\
    log in for price|login for price|log in to see|login to see|sign in to see|sign in for price|\
    preise nach anmeldung|preis nach anmeldung|preise nach login|preis nach login|\
    anmelden, um preise|anmelden, um den preis|anmelden um preise|um preise zu sehen|\
    accedi per vedere|effettua il login per|connectez-vous pour voir|inicia sesión para ver|\
    inicie sesión para ver|faça login para ver|log in om prijzen|inloggen om prijzen|\
    zaloguj się, aby zobaczyć|zaloguj się aby zobaczyć|přihlaste se pro|logga in för att se|\
    na zapytanie|na dotaz|på förfrågan|på forespørgsel|på forespørsel|по запросу|问价|\
    お問い合わせ";

/// Units of measure of unit prices.
const MEASURES: &str = "\
    kg g mg l dl cl ml m cm mm km m² m³ qm lfm lb lbs oz ounce fl gal kilo kilogramm gramm liter \
    litre litro litros litri litr liters litres meter metre metro gramo gramos grama gram grams \
    gramme kilos quilo кг г л мл м λίτρο λίτρα κιλό lit oz. sheet tablet capsule";

/// Other units that make a number a quantity.
const UNITS: &str = "\
    pc pcs piece pieces stk stück pièces piezas pezzi szt ks stuks tage tagen tag werktage \
    werktagen wochen woche monate stunden days day weeks week months hours jours días giorni dagen \
    dni uhr";

/// Months in English and German, with their abbreviations.
const MONTHS: &str = "\
    january february march april may june july august september october november december \
    januar februar märz mai juni juli oktober dezember \
    jan feb apr jun jul aug sep sept oct okt nov dec dez mar";

/// Whether a text says that the price is available on request.
pub(crate) fn is_on_request(text: &str) -> bool {
    let text = text.to_lowercase();
    ON_REQUEST.split('|').any(|phrase| text.contains(phrase))
}

/// Whether a price is for a unit of measure: `39,98 €/kg`, `(39,98 € * / 100 ml)`,
/// `39,98 € pro kg`, `1 kg = 39,98 €`.
pub(crate) fn is_per_measure(before: &str, after: &str) -> bool {
    let before = before.trim_end();
    let before = before_currency(before);
    let equated = before.trim_end().strip_suffix('=');
    if equated.is_some_and(|quantity| list_contains(MEASURES, last_word(quantity))) {
        return true;
    }
    let after = after.trim_start();
    let after = currency::at_start(after)
        .map_or(after, |symbol| &after[symbol.len..])
        .trim_start_matches([' ', '*']);
    let per = [
        "/", "pro ", "per ", "je ", "par ", "le ", "por ", "al ", "za ", "за ", "ανά ", "el ",
        "cada ",
    ]
    .iter()
    .find_map(|per| after.strip_prefix(per));
    per.is_some_and(|rest| {
        let rest =
            rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ' ' | '.' | ','));
        list_contains(MEASURES, first_word(rest))
    })
}

/// Whether a number is part of a sequence that is not a price: `1-800-555`, `2/3`, `10:30`,
/// `2024-12-24`, and `030`, since no price starts like that. `12.99-15.99` is a range.
pub(crate) fn is_in_sequence(before: &str, number: &str, after: &str, is_range: bool) -> bool {
    let joint = ['-', '/', ':'];
    let is_whole = is_whole(number);
    let follows_number =
        before.strip_suffix(joint).is_some_and(|rest| rest.ends_with(|c: char| c.is_ascii_digit()));
    let precedes_number = after
        .strip_prefix(joint)
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    follows_number
        || precedes_number && (is_whole || !is_range)
        || is_whole && number.len() > 1 && number.starts_with('0')
}

/// Whether a number is a date or part of one: `24.12.`, `24.12.2024`, `24. Dezember`,
/// `December 24`.
pub(crate) fn is_date(before: &str, number: &str, after: &str) -> bool {
    let groups: Vec<&str> = number.split('.').collect();
    let within = |text: &str, max: u8| {
        text.len() <= 2 && text.parse().is_ok_and(|value: u8| (1..=max).contains(&value))
    };
    match groups[..] {
        [day, month] => within(day, 31) && within(month, 12) && after.starts_with('.'),
        [day, month, year] => {
            within(day, 31) && within(month, 12) && matches!(year.len(), 0 | 2 | 4)
        }
        [one] if within(one, 31) || one.len() == 4 => {
            list_contains(MONTHS, first_word(after.trim_start_matches('.')))
                || list_contains(MONTHS, last_word(before))
        }
        _ => false,
    }
}

/// Whether a number is a quantity or a percentage.
pub(crate) fn is_quantity(after: &str) -> bool {
    after.trim_start().starts_with('%')
        || list_contains(MEASURES, first_word(after))
        || list_contains(UNITS, first_word(after))
}

/// Whether a number is part of a word, such as `A4` and `100g`.
pub(crate) fn is_part_of_word(before: &str, after: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '#' | '/'))
        || after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '/'))
}

/// Whether a minus sign belongs to the number, as in `-5`, `-$5` and `$-5`, but not in `A-5`, `4-5`
/// and `Tea - 5`.
pub(crate) fn is_negative(before: &str) -> bool {
    let ends_with_minus = |before: &str| {
        before
            .strip_suffix('-')
            .is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '.'))
    };
    ends_with_minus(before) || ends_with_minus(before_currency(before))
}

/// Returns the text without the currency at its end.
fn before_currency(text: &str) -> &str {
    currency::at_end(text).map_or(text, |symbol| &text[..text.len() - symbol.len])
}

/// Whether a number has no separator.
pub(crate) fn is_whole(number: &str) -> bool {
    !number.contains(['.', ','])
}
