//! Texts and the prices in them.

use rust_decimal::Decimal;

use super::{Amount, parse_all, parse_human, parse_machine};

/// Formats an amount as `value` or `value CUR`, and `None` as an empty text.
fn format_amount(amount: Option<Amount>) -> String {
    amount.map_or(String::new(), |Amount { value, currency }| {
        format!("{value} {}", currency.unwrap_or_default()).trim_end().to_owned()
    })
}

/// Adds a line to `wrong` unless the text for people yields the price.
fn check(wrong: &mut String, text: &str, expected: &str) {
    let found = format_amount(parse_human(text, None));
    if found != expected {
        *wrong += &format!("\n{text:?} is {found:?}, not {expected:?}");
    }
}

#[test]
fn prices_in_text_for_people_are_read() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("1.299,00 €", "1299.00 EUR"),
        ("$1,299.00", "1299.00 USD"),
        ("1 299,00 zł", "1299.00 PLN"),
        ("1\u{a0}299,00\u{a0}zł", "1299.00 PLN"),
        ("1\u{202f}299,00\u{202f}€", "1299.00 EUR"),
        ("¥12,800", "12800 JPY"),
        ("¥１２，８００", "12800 JPY"),
        ("12,800円（税込）", "12800 JPY"),
        ("CHF 1'299.–", "1299 CHF"),
        ("CHF 1’299.50", "1299.50 CHF"),
        ("₹1,29,900", "129900 INR"),
        ("₹ 1,29,900.50", "129900.50 INR"),
        ("1299", "1299"),
        ("from 19.99", "19.99"),
        ("ab 19,99 €*", "19.99 EUR"),
        ("EUR 5", "5 EUR"),
        ("5,- €", "5 EUR"),
        ("Price: US$ 12.5", "12.5 USD"),
        ("1234.567", "1234.567"),
        ("kr 1.299,-", "1299"),
        ("1.299", "1299"),
        ("1,299", "1299"),
        ("1.299.000", "1299000"),
        ("0.299", "0.299"),
        ("19,9", "19.9"),
        (".99", "0.99"),
        ("$.99", "0.99 USD"),
        ("Rs.99", "99 INR"),
        ("KWD 1.299", "1.299 KWD"),
        ("12.500 KD", "12.500 KWD"),
        ("KWD 1 299", "1299 KWD"),
        ("1 299 000 ₫", "1299000 VND"),
        ("۱٬۲۹۹", "1299"),
        ("۱۲٫۵", "12.5"),
        ("\u{200e}$12.99", "12.99 USD"),
        ("$ 12.99 - $ 15.99", "12.99 USD"),
        ("Tea - 12.99", "12.99"),
        ("-20% 12,99 €", "12.99 EUR"),
        ("Save 5 % now 12.99", "12.99"),
        ("Pack of 2 - €15.99", "15.99 EUR"),
        ("Pack of 2 €15.99", "15.99 EUR"),
        ("2 1299 €", "1299 EUR"),
        ("4711 129 €", "129 EUR"),
        ("Price12.99incl. VAT", "12.99"),
        ("A4 paper 100g 4,50", "4.50"),
        ("5GHz WLAN 19,99", "19.99"),
        ("Preis-19,99 €", "19.99 EUR"),
        ("12,99 € incl. VAT, 1,30 €/100 g", "12.99 EUR"),
        ("19.99000", "19.99"),
        ("45.000000", "45"),
        ("000.50", "0.50"),
        ("999999999999999.9999", "999999999999999.9999"),
        ("Gratis!", "0"),
        ("KOSTENLOS", "0"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_price_on_request_is_not_a_price() {
    for text in [
        "Preis auf Anfrage, Tel. 030 1234567",
        "Auf Anfrage (Tel. 030 1234567)",
        "Price on request (min. 10 pcs)",
        "Price on request (shipping 5 €)",
        "Call for price 1-800-555-1234",
        "Prix sur demande, 2 pièces",
        "a consultar 12",
        "Prezzo su richiesta 2024",
        "PRIJS OP AANVRAAG 12",
        "Cena na zapytanie 48",
        "Contact us: 12345",
    ] {
        assert_eq!(
            (parse_human(text, Some("EUR")), parse_machine(text, Some("EUR"))),
            (None, None),
            "{text:?}"
        );
    }
    assert_eq!(
        format_amount(parse_human("19,99 €, größere Mengen auf Anfrage", None)),
        "19.99 EUR"
    );
}

#[test]
fn dates_quantities_and_telephone_numbers_are_not_prices() {
    let mut wrong = String::new();
    for text in [
        "Lieferzeit 2-3 Tage",
        "Lieferzeit 2 - 3 Tage",
        "Lieferzeit 2 Tage",
        "Ausverkauft – wieder da am 24.12.",
        "Ausverkauft bis 24.12.2024",
        "Available from 24 December 2024",
        "wieder da: 24. Dezember",
        "24.12.",
        "24.12.24",
        "030",
        "2024-12-24",
        "24/12/2024",
        "10:30",
        "Tel. 030 1234567",
        "+1 800-555-1234",
        "1/2",
        "Tea 100 g",
    ] {
        assert_eq!(
            (parse_human(text, Some("EUR")), parse_machine(text, Some("EUR"))),
            (None, None),
            "{text:?}"
        );
    }
    for (text, expected) in [
        ("Lieferzeit 2-3 Tage, 19,99", "19.99"),
        ("ab 24.12. nur 19,99", "19.99"),
        ("Sie zahlen 45.95.", "45.95"),
        ("Angebot Mai 129,99", "129.99"),
        ("5 € bis 24.12.2024", "5 EUR"),
        ("$24.12.", "24.12 USD"),
        ("12-Pack 5 €", "5 EUR"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_price_of_a_range_is_its_lower_end() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("12,99 – 15,99 €", "12.99 EUR"),
        ("12,99–15,99 €", "12.99 EUR"),
        ("ab 12,99 bis 15,99 €", "12.99 EUR"),
        ("from 12.99 to 15.99 USD", "12.99 USD"),
        ("1,299.00 - 1,499.00 USD", "1299.00 USD"),
        ("999 - 1.299 €", "999 EUR"),
        ("Preis: 10 - 15 €", "10 EUR"),
        ("12-15 €", "12 EUR"),
        ("von 10 bis 20 Euro", "10 EUR"),
        ("€12-15", "12 EUR"),
        ("12.99-15.99", "12.99"),
        ("Pack of 2 - 15 €", "15 EUR"),
        ("Price 1,299 - 1,499 USD", "1299 USD"),
        ("1,299-1,499", "1299"),
        ("5 - 10 % off, 12.99", "12.99"),
        ("12.99 - 20 % off", "12.99"),
        ("$12 - 20 % off", "12 USD"),
        ("12.99 - 3 days", "12.99"),
        ("12,99 - 15,99 CHF", "12.99 CHF"),
        ("12,99 $ à 15,99 $ CA", "12.99 USD"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn all_prices_of_a_text_are_those_next_to_a_currency_that_customers_may_pay() {
    for (text, expected) in [
        ("Rot 12,99 €, blau 15,99 €", &["12.99 EUR", "15.99 EUR"][..]),
        ("12,99 € – 15,99 €", &["12.99 EUR"]),
        ("19,99 € UVP 29,99 €", &["19.99 EUR"]),
        ("39,98 €/kg, 19,99 €", &["19.99 EUR"]),
        ("5 Stück, $7", &["7 USD"]),
        ("12,99", &[]),
        ("", &[]),
    ] {
        let found = parse_all(text, None).into_iter().map(Some).map(format_amount);
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text:?}");
    }
}

#[test]
fn a_total_price_takes_precedence_over_a_unit_price() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("(1 kg = 39,98 €) 19,99 €", "19.99 EUR"),
        ("(1 kg = €39.98) €19.99", "19.99 EUR"),
        ("19,99 € (39,98 €/kg)", "19.99 EUR"),
        ("39,98 €/kg, 19,99 €", "19.99 EUR"),
        ("Inhalt: 0.5 Liter (39,98 € * / 1 Liter) 19,99 € *", "19.99 EUR"),
        ("39,98 € pro 100 ml 19,99 €", "19.99 EUR"),
        ("39,98 €/kg", "39.98 EUR"),
        ("(1 kg = 39,98) 19,99", "19.99"),
        ("100 g, 3,98 €/100 g", "3.98 EUR"),
        ("Price = 5 €", "5 EUR"),
        ("5 €/Stück, 4 € Versand", "5 EUR"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_unambiguous_code_takes_precedence_over_a_shared_symbol() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("AU $12.99", "12.99 AUD"),
        ("C $12.99", "12.99 CAD"),
        ("MXN$ 1,299", "1299 MXN"),
        ("$1,299.00 MXN", "1299.00 MXN"),
        ("$1,299.00MXN", "1299.00 MXN"),
        ("$ 12.990 COP", "12990 COP"),
        ("12,99 $CA", "12.99 CAD"),
        ("¥99 CNY", "99 CNY"),
        ("kr 129 SEK", "129 SEK"),
        ("129 kr DKK", "129 DKK"),
        ("$1,299.00 (MXN)", "1299.00 MXN"),
        ("$5 CAD 7", "5 USD"),
        ("$5 CAD $7", "5 USD"),
        ("$5 (CAD 7)", "5 USD"),
        ("$5 €4", "5 USD"),
        ("$5 (4 €)", "5 USD"),
        ("$5 TOP quality", "5 USD"),
        ("-AU $5", ""),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn words_in_a_machine_readable_value_require_a_currency() {
    for (text, expected) in [
        ("from 12.99", "12.99"),
        ("ab 12,99 bis 15,99", "12.99"),
        ("12.99 - 15.99", "12.99"),
        ("12,99 *", "12.99"),
        ("Now only 12.99 €", "12.99 EUR"),
        ("Price: USD 12.99", "12.99 USD"),
        ("Model 12", ""),
        ("12.99 incl. VAT", ""),
        ("A4", ""),
        ("030 1234567", ""),
    ] {
        assert_eq!(format_amount(parse_machine(text, None)), expected, "{text:?}");
    }
}

#[test]
fn in_currencies_without_decimals_a_dot_separates_thousands() {
    for (text, currency, expected) in [
        ("12.990", "CLP", "12990 CLP"),
        ("12,990", "COP", "12990 COP"),
        ("129.000", "IDR", "129000 IDR"),
        ("1.299", "HUF", "1299 HUF"),
        ("1299.000", "JPY", "1299.000 JPY"),
        ("12.99", "HUF", "12.99 HUF"),
        ("0.299", "JPY", "0.299 JPY"),
        ("12.990", "EUR", "12.990 EUR"),
    ] {
        assert_eq!(
            format_amount(parse_machine(text, Some(currency))),
            expected,
            "{text:?} {currency}"
        );
    }
    assert_eq!(format_amount(parse_human("12.990", Some("CLP"))), "12990 CLP");
}

#[test]
fn text_without_a_price_yields_none() {
    for text in [
        "",
        " ",
        "price on request",
        "Preis auf Anfrage",
        "Free shipping",
        "versandkostenfrei",
        "-5.00",
        "−5,00 €",
        "-$5.00",
        "$-5.00",
        "20 %",
        "12.05.2024",
        "1.2.3",
        "10.20.30",
        "Version 10.20.30, 19",
        "1,299.000,00",
        "1234567890123456",
        "99999999999999999999999999999999",
        "€",
        ".",
        "-",
    ] {
        assert_eq!((parse_human(text, None), parse_machine(text, None)), (None, None), "{text:?}");
    }
}

#[test]
fn machine_readable_prices_are_read() {
    for (text, expected) in [
        ("1.299", "1.299"),
        ("1299.00", "1299.00"),
        ("1299", "1299"),
        ("12,99", "12.99"),
        ("1,299", "1299"),
        ("0,299", "0.299"),
        ("1.299,00", "1299.00"),
        ("1,299.00", "1299.00"),
        ("1.299.000", "1299000"),
        ("1 299.00", "1299.00"),
        ("12345.6780", "12345.6780"),
        ("45.000000", "45"),
        ("1.5e3", "1500"),
        ("2E1", "20"),
        ("125e-1", "12.5"),
        ("+5", "5"),
        ("0", "0"),
        ("0.00", "0.00"),
        (" 7.50\n", "7.50"),
        // Text for people in a machine-readable field is read as text for people.
        ("1.299 €", "1299 EUR"),
        ("$1,299.00", "1299.00 USD"),
        ("free", "0"),
    ] {
        assert_eq!(format_amount(parse_machine(text, None)), expected, "{text:?}");
    }
}

#[test]
fn numbers_that_do_not_fit_the_price_column_yield_none() {
    for text in
        ["1e15", "1e16", "1e400", "1e5e5", "1e99999999999", "1e-5", "-1", "-1e3", "NaN", "0.00001"]
    {
        assert_eq!(parse_machine(text, None), None, "{text:?}");
    }
    assert_eq!(format_amount(parse_machine("1e14", None)), "100000000000000");
}

#[test]
fn a_known_currency_takes_precedence_and_decides_on_thousandths() {
    assert_eq!(format_amount(parse_human("$5", Some("CAD"))), "5 CAD");
    assert_eq!(format_amount(parse_human("1.299", Some("KWD"))), "1.299 KWD");
    assert_eq!(format_amount(parse_machine("1,299", Some("KWD"))), "1.299 KWD");
    assert_eq!(format_amount(parse_human("kostenlos", Some("EUR"))), "0 EUR");
}

proptest::proptest! {
    #[test]
    fn every_text_yields_a_valid_price_or_none(
        text in r"[-+0-9eE.,' €$%\u{a0}EURkr]{0,40}|\PC{0,80}",
    ) {
        let amounts = [parse_machine(&text, None), parse_human(&text, Some("EUR"))];
        for amount in amounts.into_iter().flatten() {
            proptest::prop_assert!(amount.value >= Decimal::ZERO && amount.value.scale() <= 4);
            proptest::prop_assert!(amount.value < Decimal::from(1_000_000_000_000_000_i64));
        }
    }

    #[test]
    fn a_price_is_read_back_as_written(cents in 0_u64..1_000_000_000_000) {
        let value = Decimal::from_i128_with_scale(i128::from(cents), 2);
        let written = value.to_string();
        let machine = parse_machine(&written, None).map(|amount| amount.value);
        proptest::prop_assert_eq!(machine, Some(value));
        let german = format!("{} €", written.replace('.', ","));
        let human = parse_human(&german, None).map(|amount| amount.value);
        proptest::prop_assert_eq!(human, Some(value));
    }
}

#[test]
fn the_noise_of_a_float_is_rounded() {
    for (text, currency, expected) in [
        ("185.130001", "EUR", "185.13 EUR"),
        ("210.852001", "EUR", "210.85 EUR"),
        ("34.992001", "GBP", "34.99 GBP"),
        ("19.989999999999998", "USD", "19.99 USD"),
        ("1299.9900000000001", "USD", "1299.99 USD"),
        ("0.30000000000000004", "USD", "0.3000 USD"),
        ("1.0000000000001", "USD", "1.00 USD"),
        ("12.345600001", "KWD", "12.346 KWD"),
        ("1.8513000100e2", "EUR", "185.13 EUR"),
        ("0.000001", "EUR", ""),
        ("999999999999999.99999", "EUR", "1000000000000000.00 EUR"),
        ("185.1300", "EUR", "185.1300 EUR"),
    ] {
        let found = [parse_machine(text, Some(currency)), parse_human(text, Some(currency))];
        for amount in &found[..if text.contains('e') { 1 } else { 2 }] {
            assert_eq!(format_amount(*amount), expected, "{text:?}");
        }
    }
    assert_eq!(format_amount(parse_human("185,130001 €", None)), "185.13 EUR");
}

#[test]
fn prices_in_parts_are_joined() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("99¢", "0.99 USD"),
        ("Now only 99¢", "0.99 USD"),
        ("5 ¢", "0.05 USD"),
        ("85p", "0.85 GBP"),
        ("50 ct", "0.50 EUR"),
        ("50 Cent", "0.50"),
        ("75 cents", "0.75"),
        ("99c", "0.99"),
        ("99 коп.", "0.99 RUB"),
        ("99 копеек", "0.99 RUB"),
        ("95 centimes", "0.95"),
        ("150 ¢", "1.50 USD"),
        ("12€95", "12.95 EUR"),
        ("12 € 95", "12.95 EUR"),
        ("12€95 TTC", "12.95 EUR"),
        ("1 299€95", "1299.95 EUR"),
        ("1.299€95", "1299.95 EUR"),
        ("12 Euro 95", "12.95 EUR"),
        ("12 € 50 ct", "12.50 EUR"),
        ("12 Euro und 5 Cent", "12.05 EUR"),
        ("1 руб. 99 коп.", "1.99 RUB"),
        ("12 zł 99 gr", "12.99 PLN"),
        ("$1 50¢", "1.50 USD"),
        ("1 327 49 €", "1327.49 EUR"),
        ("1327 49 €", "1327.49 EUR"),
        ("1.327 49 €", "1327.49 EUR"),
        ("nur 19 99 €", "19.99 EUR"),
        ("$1327 49", "1327.49 USD"),
        ("$ 19 99 /each", "19.99 USD"),
        ("1.5万円", "15000 JPY"),
        ("1万2000円", "12000 JPY"),
        ("1만 2,900원", "12900 KRW"),
        ("£1.25m", "1250000 GBP"),
        ("€5 / 10 m", "5 EUR"),
        ("¥3万", "30000 JPY"),
        ("₹1.5 lakh", "150000 INR"),
        ("$25k", "25000 USD"),
        ("1,2 Mio. €", "1200000 EUR"),
        ("Rp 25rb", "25000 IDR"),
        ("₹१२९९", "1299 INR"),
        ("฿๑,๒๙๙", "1299 THB"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn parts_of_other_meaning_are_not_joined() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("Pack of 2 €15", "15 EUR"),
        ("12 ct, $3.99", "3.99 USD"),
        ("$3.99 (12 ct)", "3.99 USD"),
        ("18 ct gold ring £199", "199 GBP"),
        ("Full HD 1080p 199 €", "199 EUR"),
        ("5 € 10 Stück", "5 EUR"),
        ("5 € 10%", "5 EUR"),
        ("5 € 20 €", "5 EUR"),
        ("iPhone 13 99 €", "99 EUR"),
        ("12,50 € 95", "12.50 EUR"),
        ("$5 10 pcs", "5 USD"),
        ("18K gold $99", "99 USD"),
        ("4K TV 499 €", "499 EUR"),
        ("$5 €4", "5 USD"),
        ("€12-15", "12 EUR"),
        ("$24 12.05.2024", "24 USD"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_former_price_is_not_the_price() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("UVP 29,99 € jetzt 19,99 €", "19.99 EUR"),
        ("UVP 29,99 € 19,99 €", "19.99 EUR"),
        ("UVP: 29,99 €, 19,99 €", "19.99 EUR"),
        ("29,99 € UVP 19,99 €", "19.99 EUR"),
        ("19,99 € UVP 29,99 €", "19.99 EUR"),
        ("19,99 € (UVP 29,99 €)", "19.99 EUR"),
        ("Was $30 Now $20", "20 USD"),
        ("Was 30 Now 20", "20"),
        ("Was $30, now $20", "20 USD"),
        ("Was $30 - $40 Now $20 - $25", "20 USD"),
        ("$20 (was $30)", "20 USD"),
        ("$20 was $30", "20 USD"),
        ("List Price: $30.00 Price: $20.00", "20.00 USD"),
        ("RRP £30.00 £20.00", "20.00 GBP"),
        ("MSRP: $30.00 You save: $10.00 Your price: $20.00", "20.00 USD"),
        ("statt 29,99 € nur 19,99 €", "19.99 EUR"),
        ("19,99 € statt 29,99 €", "19.99 EUR"),
        ("au lieu de 29,99 € 19,99 €", "19.99 EUR"),
        ("Antes 29,99 € Ahora 19,99 €", "19.99 EUR"),
        ("De: R$ 199,00 Por: R$ 149,00", "149.00 BRL"),
        ("van € 29,99 voor € 19,99", "19.99 EUR"),
        ("Najniższa cena z 30 dni przed obniżką: 89,00 zł 79,00 zł", "79.00 PLN"),
        ("Niedrigster Preis der letzten 30 Tage: 15 €, jetzt 19 €", "19 EUR"),
        ("Původní cena 1 299 Kč 999 Kč", "999 CZK"),
        ("Старая цена 2 000 ₽ 1 500 ₽", "1500 RUB"),
        ("29 990 Ft helyett 19 990 Ft", "19990 HUF"),
        ("定価 3,000円 2,000円", "2000 JPY"),
        ("原价¥300 现价¥200", "200 JPY"),
        ("정가 30,000원 20,000원", "20000 KRW"),
        ("Ord. pris 499 kr 299 kr", "299"),
        ("Regular price $40.00 Sale price $30.00", "30.00 USD"),
        ("Regular price $40.00", "40.00 USD"),
        ("Normaler Preis €30,00 EUR", "30.00 EUR"),
        ("Was $30", ""),
        ("MRP ₹450 ₹300 (33% off)", "300 INR"),
        ("₹300 M.R.P: ₹450", "300 INR"),
        ("MRP ₹450", "450 INR"),
        ("Price ₹450 Offer price ₹300", "300 INR"),
        ("Regulärer Preis: 45,00 € Special Price 30,00 €", "30.00 EUR"),
        ("Precio de lista $450 Precio $300", "300 USD"),
        ("メーカー希望小売価格 4,500円 価格 3,000円", "3000 JPY"),
        ("정상가 45,000원 할인가 30,000원", "30000 KRW"),
        ("Cena przed promocją: 45,00 zł 30,00 zł", "30.00 PLN"),
        ("Used from $12.00 New $20.00", "20.00 USD"),
        ("Used $12.00", "12.00 USD"),
        ("Reduced from £45.00 to £30.00", "30.00 GBP"),
        ("Früherer Preis 49,90 CHF Aktueller Preis 39,90 CHF", "39.90 CHF"),
        ("Orig. $45.00 Now $30.00", "30.00 USD"),
        ("Retail: $45.00 Our price: $30.00", "30.00 USD"),
        ("UVP … 19,99 €", "19.99 EUR"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_saving_or_a_charge_is_not_the_price() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("Save $10 Now $20", "20 USD"),
        ("Was $30 Save $10 $20", "20 USD"),
        ("You save $10 (33%) $20", "20 USD"),
        ("$10 off $20", "20 USD"),
        ("Sie sparen 10 € 19,99 €", "19.99 EUR"),
        ("10 € Rabatt 19,99 €", "19.99 EUR"),
        ("Économisez 10 € 19,99 €", "19.99 EUR"),
        ("Save 30% $20", "20 USD"),
        ("Save up to 30% now 20", "20"),
        ("zzgl. 0,25 € Pfand 1,19 €", "1.19 EUR"),
        ("1,19 € zzgl. 0,25 € Pfand", "1.19 EUR"),
        ("0,25 € Pfand, 1,19 €", "1.19 EUR"),
        ("Pfand: 0,25 € Preis: 1,19 €", "1.19 EUR"),
        ("1,19 € + 0,25 € Pfand", "1.19 EUR"),
        ("$4.99 shipping $20.00", "20.00 USD"),
        ("Shipping $4.99 Price $20.00", "20.00 USD"),
        ("Versand 4,90 € 19,99 €", "19.99 EUR"),
        ("19,99 € zzgl. 4,90 € Versand", "19.99 EUR"),
        ("19,99 € zzgl. Versand 4,90 €", "19.99 EUR"),
        ("versandkostenfrei ab 50 € 19,99 €", "19.99 EUR"),
        ("Free shipping over $35 $20", "20 USD"),
        ("送料 500円 2,000円", "2000 JPY"),
        ("dont 0,50 € d'éco-participation 99,00 €", "99.00 EUR"),
        ("Anzahlung 99 € Preis 999 €", "999 EUR"),
        ("Activation fee $35 $99", "99 USD"),
        ("Balance due $450, deposit $50", "450 USD"),
        ("inc. £3.33 VAT £19.99", "19.99 GBP"),
        ("19,99 € inkl. 3,19 € MwSt.", "19.99 EUR"),
        ("£20 VAT included", "20 GBP"),
        ("netto 10,00 € brutto 11,90 €", "11.90 EUR"),
        ("10,00 € HT 12,00 € TTC", "12.00 EUR"),
        ("1,000円(税抜) 1,100円(税込)", "1100 JPY"),
        ("10,00 € netto", "10.00 EUR"),
        ("1,290円(税込1,419円)", "1419 JPY"),
        ("本体価格1,290円 税込1,419円", "1419 JPY"),
        ("£100.00 (£120.00 inc VAT)", "120.00 GBP"),
        ("100 Kč bez DPH 121 Kč s DPH", "121 CZK"),
        ("£2.00 with Clubcard £2.58", "2.58 GBP"),
        ("Members $15 Non-members $20", "20 USD"),
        ("ab 3 Stück 9,99 € 12,99 €", "12.99 EUR"),
        ("12,99 € ab 10 Stück 9,99 €", "12.99 EUR"),
        ("10 Stück 25 €", "25 EUR"),
        ("$16.00 each or 2 for $30", "16.00 USD"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn an_instalment_is_not_the_price() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("od 202 Kč měsíčně 6 290 Kč", "6290 CZK"),
        ("ab 12,50 €/Monat 299,00 €", "299.00 EUR"),
        ("ab 12,50 € mtl. 299,00 €", "299.00 EUR"),
        ("12,50 € im Monat oder 299,00 €", "299.00 EUR"),
        ("$36/mo or $999", "999 USD"),
        ("$999 or $36/mo. for 36 mo.", "999 USD"),
        ("From $12.50 per month, $299.00", "299.00 USD"),
        ("4 payments of $12.50", ""),
        ("$50.00 or 4 interest-free payments of $12.50", "50.00 USD"),
        ("4 interest-free payments of $12.50 or $50.00", "50.00 USD"),
        ("10x R$ 129,90", ""),
        ("12x de R$ 99,90", ""),
        ("12x de R$ 99,90 ou R$ 1.080,00 à vista", "1080.00 BRL"),
        ("R$ 1.299,00 em até 10x de R$ 129,90 sem juros", "1299.00 BRL"),
        ("6 cuotas sin interés de $ 4.999", ""),
        ("3 x 33,33 €", ""),
        ("33,33 € x 3", ""),
        ("en 4 fois 25,00 €, 100,00 €", "100.00 EUR"),
        ("月々 1,000円 36,000円", "36000 JPY"),
        ("月額1,000円", ""),
        ("월 12,000원 432,000원", "432000 KRW"),
        ("rata 20 zł, 400 zł", "400 PLN"),
        ("от 500 ₽ в месяц 12 000 ₽", "12000 RUB"),
        ("99 kr/mån 2 990 kr", "2990"),
        ("12,50 – 15 €/Monat", ""),
        ("12 - 15 € inkl. MwSt., 99 € inkl. MwSt.", "12 EUR"),
        ("oder ab 19,90 € in 24 Raten", ""),
        ("Leasing 199 €", ""),
        ("月付299元起", ""),
        ("$0 down, $20/mo", ""),
        ("18 meses sin intereses de $499.00", ""),
        ("1.200 TL veya 12 taksit 100 TL", "1200 TRY"),
        ("12,50 €/Monat", ""),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn words_near_a_price_do_not_take_it_away() {
    let mut wrong = String::new();
    for (text, expected) in [
        ("19,99 € zzgl. Versand", "19.99 EUR"),
        ("19,99 € inkl. MwSt. zzgl. Versandkosten", "19.99 EUR"),
        ("$20 + shipping", "20 USD"),
        ("$20, free shipping", "20 USD"),
        ("$20 free shipping", "20 USD"),
        ("Free shipping $20", "20 USD"),
        ("Kostenloser Versand 19,99 €", "19.99 EUR"),
        ("Preis inkl. Versand: 24,89 €", "24.89 EUR"),
        ("inkl. Pfand 1,44 €", "1.44 EUR"),
        ("$20 Save 30%", "20 USD"),
        ("Sale price $20", "20 USD"),
        ("Discounted price $20", "20 USD"),
        ("iPhone 15 Plus $999", "999 USD"),
        ("Delivery in 30 days, $20", "20 USD"),
        ("30 days return $20", "20 USD"),
        ("1x 19,99 €", "19.99 EUR"),
        ("24 x 24 cm 19,99 €", "19.99 EUR"),
        ("19,99 € pro Stück", "19.99 EUR"),
        ("Price per piece: $20", "20 USD"),
        ("Ab 19,99 €", "19.99 EUR"),
        ("à partir de 19,99 € TTC", "19.99 EUR"),
        ("Rs. 1,29,900/-", "129900 INR"),
        ("1 299:-", "1299"),
    ] {
        check(&mut wrong, text, expected);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
