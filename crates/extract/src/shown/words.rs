//! The words of shops, in the languages of large shop systems and markets.
//!
//! Names are words of classes, ids and keys, or two of them together. Phrases are parts of text
//! for people, in lower case, separated by bars.

use super::context::Context;

/// Parts of words that name a price.
const PRICE_PARTS: &[&str] = &[
    "price", "preis", "prix", "precio", "preco", "preço", "prezzo", "prijs", "fiyat", "цена",
    "価格", "价格", "価", "harga", "cijena", "kaina",
];

/// Whole words that name a price.
const PRICE_WORDS: &[&str] = &[
    "cena", "ceny", "hinta", "pris", "pret", "valor", "money", "amount", "cost", "kwota", "gia",
    "tsena", "hind", "rmb", "pvp",
];

/// Whether a word in lower case names a price.
pub(super) fn is_price(word: &str) -> bool {
    PRICE_PARTS.iter().any(|part| word.contains(part)) || PRICE_WORDS.contains(&word)
}

/// Whether a word in lower case, as a label, means a price.
pub(super) fn is_price_word(word: &str) -> bool {
    PRICE_PARTS.contains(&word)
        || ["cena", "hinta", "pris", "ціна", "τιμή", "ár", "ára", "cijena", "giá", "preț"]
            .contains(&word)
        || ["販売価格", "판매가", "판매가격", "售价"].contains(&word)
}

/// Names of what makes a price another one than the one to pay.
pub(super) const NAMES: &[(Context, &str)] = &[
    (
        Context::Former,
        "old was org origin strike striked strikethrough struck crossed crossedout before original \
         orig rrp msrp uvp srp compare compareat listprice pricelisted wasprice oldprice previous \
         stroke linethrough statt streichpreis streich durchgestrichen antes anterior tachado \
         avant barre barré ancien vecchio oud adviesprijs stara stary staro katalogowa eski \
         fullprice overprice originalprice beforeprice formerprice \
         former highprice preciolista preciodelista precolista prezzolistino listenpreis approx \
         maxprice undiscounted nodiscount marketprice market vorher lowest omnibus history ppr \
         prev vechi precedent deleted listino",
    ),
    (
        Context::Unit,
        "unitprice priceperunit perunit grundpreis baseprice priceper pricepr preispro ppu unite \
         unitaire prixkg basispreis grundeinheit measure unitpricing comparison perkg unitcost",
    ),
    (
        Context::Shipping,
        "ship shipping delivery versand versandkosten livraison envio envío frete spedizione \
         verzend verzendkosten lieferung liefer dostawa doprava kargo teslimat postage fracht \
         freight frakt fragt shipment deliver entrega consegna bezorging porto",
    ),
    (
        Context::Instalment,
        "installment installments instalment instalments finance financing monthly month klarna \
         affirm afterpay clearpay paypal sezzle parcela parcelas parcelamento cuota cuotas mensual \
         mensualidad mensualidades mensualite mensualites raten rate ratenkauf ratenzahlung \
         leasing lease abo raty taksit credit loan bnpl paylater payin payments emi monatlich \
         monthlyprice subscription subscribe subscriptions autoship",
    ),
    (
        Context::Related,
        "related recommend recommended recommendation recommendations recommender similar upsell \
         upsells crosssell crosssells crossselling cross accessories accessory alsobought \
         alsoviewed recently recentlyviewed viewed sponsored bundle bundles frequently suggest \
         suggested suggestion suggestions alternatives alternative morefrom youmay complementary \
         carousel slider swiper slick splide glide ads advert trending bestseller bestsellers \
         zubehör zubehoer ähnlich aehnlich ähnliche aehnliche empfehlungen empfohlen relacionados \
         relacionadas similaires associes associés correlati gerelateerd podobne polecane \
         souvisejici podobné benzer ilgili complete outfit lookbook sims shopthelook productgrid \
         productlist productlisting producttile productcard productmini teaser",
    ),
    (
        Context::Cart,
        "minicart minibasket carttotal cartsummary cartdrawer cartcount cartprice baskettotal \
         basketprice subtotal grandtotal ordersummary warenkorbsumme cartamount",
    ),
    (
        Context::Saving,
        "save saves saving savings saved ersparnis sparen spare ahorro ahorras economia economize \
         risparmio besparing bespaar korting remise coupon coupons voucher vouchers gutschein \
         cashback points punkte reward rewards loyalty bonus discountamount \
         discountpercent discountpercentage discountvalue rabattbetrag threshold rabat sleva \
         earn giftcard",
    ),
    (
        Context::Review,
        "review reviews rating ratings comment comments bewertung bewertungen avis opinion \
         opiniones question questions faq testimonial testimonials",
    ),
    (
        Context::Option,
        "swatch swatches optionprice variantoption addon addons extra extras surcharge aufpreis \
         warranty insurance protection garantie giftwrap configurator",
    ),
    (
        Context::Quantity,
        "tier tiers tierprice tierprices tierpricing bulk bulkprice volume staffel staffelpreis \
         staffelpreise graduated wholesale quantitydiscount qtyprice blockprices",
    ),
    (
        Context::Navigation,
        "nav navbar navigation footer menu megamenu topbar announcement usp usps breadcrumb \
         breadcrumbs filter filters facet facets pricerange rangeslider newsletter cookie",
    ),
    (Context::Dialog, "modal popup tooltip popover lightbox dialog offcanvas quickview"),
    (
        Context::Deposit,
        "deposit pfand kaution downpayment fee fees statiegeld pant ecotax handling installation",
    ),
    (
        Context::Regular,
        "regular regularprice standardprice normal normalprice baseprice ordinary ordinarie \
         ordinaryprice retail retailprice",
    ),
    (
        Context::Net,
        "excl excluding net netto exvat extax withouttax withoutvat ht exclvat excltax exkl b2b \
         business priceexcludingtax taxexcl nettopreis pricenet",
    ),
    (Context::Member, "member members membership club clubcard vip prime memberprice tarjeta"),
    (
        Context::Used,
        "used refurbished gebraucht openbox tradein buyback ankauf rent rental miete renewed \
         secondhand",
    ),
    (Context::Hidden, "hidden hide dnone ishidden invisible displaynone"),
    (
        Context::Number,
        "sku mpn ean gtin isbn barcode identifier artnr artnum artikelnr artikelnummer \
         articlenumber partnumber productnumber itemnumber modelnumber productcode itemcode \
         productid referencia",
    ),
];

/// Names of a box with a product of a list.
pub(super) const CARD_NAMES: &[&str] =
    &["productgrid", "productlist", "productlisting", "producttile", "productcard", "productmini"];

/// Words of a cart that holds products.
pub(super) const CART_NAMES: &[&str] = &[
    "cart",
    "basket",
    "bag",
    "warenkorb",
    "panier",
    "carrito",
    "carrello",
    "koszyk",
    "kosik",
    "winkelwagen",
    "sepet",
    "handlekurv",
    "varukorg",
    "trolley",
];

/// Words of a button or a form that puts a product into a cart.
pub(super) const BUTTON_NAMES: &[&str] = &[
    "add", "to", "into", "form", "button", "btn", "buy", "ajouter", "dodaj", "atc", "purchase",
    "product", "item",
];

/// Names that only a button has that buys.
pub(super) const BUY_NAMES: &[&str] = &[
    "addtocart",
    "addtobasket",
    "addtobag",
    "addtocartbutton",
    "buynow",
    "buybutton",
    "buybox",
    "atc",
    "btncart",
    "cartbutton",
    "addcart",
    "buyit",
    "inwarenkorb",
    "indenwarenkorb",
    "productform",
    "addtocartform",
    "cartform",
    "singleaddtocart",
    "purchase",
    "basketadd",
];

/// Labels and texts around a price that make it another one.
pub(super) const LABELS: &[(Context, &str)] = &[
    (
        Context::Former,
        "was|rrp|msrp|srp|list price|uvp|unverb|statt|original price|originally|old price|\
         previously|previous price|instead of|compare at|retail price|lowest price in|\
         lowest price in the last|last 30 days|\
         letzten 30 tage|niedrigster preis|bestpreis|prix le plus bas|precio más bajo|\
         preço mais baixo|prezzo più basso|laagste prijs|nejnižší cena|najnižšia cena|\
         legalacsonyabb ára|cel mai mic preț|lägsta pris|laveste pris|alin hinta|\
         χαμηλότερη τιμή|най-ниска цена|najniža cijena|mažiausia kaina|bisher|vorher|\
         listenpreis|alter preis|au lieu de|\
         prix conseillé|prix barré|ancien prix|avant|prix public|antes|precio anterior|\
         precio de lista|precio original|pvpr|prezzo consigliato|prezzo di listino|invece di|\
         listino|prima|adviesprijs|oude prijs|de:|preço anterior|\
         najniższa cena|z 30 dni|cena katalogowa|cena regularna|poprzednia cena|stara cena|\
         původní cena|běžná cena|původně|doporučená cena|eski fiyat|liste fiyatı|kaina kitur|ord. pris|\
         ord.pris|ordinarie pris|tidigare|rek. pris|førpris|før|veil. pris|vejl. pris|normalpris|\
         normaalihinta|ovh|norm.|eredeti ár|régi ár|preț vechi|prp|pret vechi|стара ціна|\
         старая цена|без скидки|παλιά τιμή|π.λ.τ|原价|定价|市场价|市場價|原價|定価|通常価格|参考価格|\
         希望小売価格|元値|정가|판매가 이전|السعر السابق|قبل|كان|מחיר קודם|במקום|מחיר מחירון|giá gốc|\
         giá cũ|giá niêm yết|harga asli|ราคาปกติ|ราคาเดิม",
    ),
    (
        Context::Unit,
        "/kg|/ kg|/100|/ 100|/l|/ l|/m|/m²|/ m²|/m2|/oz|/lb|/st|/stk|/ stück|per kg|pro kg|per 100|\
         per litre|per liter|per metre|grundpreis|unit price|price per|je 100|je kg|1 kg =|\
         prix au kilo|le kg|al kg|por kg|por litro|za 1 kg|cena jednostkowa|jednotková cena|\
         単価|あたり|per stuk|each when",
    ),
    (
        Context::Shipping,
        "shipping|ships for|delivery|postage|p&p|versand|versandkosten|lieferung|versandkostenfrei|livraison|\
         frais de port|envío|envio|frete|entrega|spedizione|spese di spedizione|consegna|\
         verzending|verzendkosten|bezorging|dostawa|wysyłka|доставка|kargo|teslimat|frakt|\
         fragt|toimitus|doprava|poštovné|szállítás|livrare|送料|运费|運費|配送|包邮|免運|배송|배송비|\
         شحن|توصيل|الشحن|משלוח|vận chuyển|ongkir|ค่าจัดส่ง|μεταφορικά",
    ),
    (
        Context::Instalment,
        "/month|/mo|/mo.|per month|a month|monthly|month|/mês|/mes|mtl|monatlich|monat|rate|raten|\
         ratenzahlung|finanzierung|par mois|mois|/mois|mensuel|mensualité|en 3 fois|en 4 fois|\
         al mese|rata|rate da|cuotas|cuota|meses|al mes|parcelas|sem juros|sin interés|\
         sin intereses|à vista no|no cartão|/maand|per maand|raty|miesięcznie|měsíčně|splátky|\
         taksit|/ay|kk/kk|/mån|/mnd|/md|payments of|interest-free|installments|instalments|\
         finance|financing|as low as|klarna|affirm|afterpay|paypal|月々|分割|分期|每期|할부|\
         ежемесячно|в месяц|/мес|/міс|/mėn|/week|per week|a week|δόσεις|рассрочка|в кредит|تقسيط|شهريا|תשלומים|subscribe & save|subscribe|\
         subscription|abo",
    ),
    (
        Context::Saving,
        "save|you save|saving|saved|off|discount|coupon|voucher|cashback|points|earn|reward|\
         sie sparen|spar|sparen|ersparnis|rabatt|gutschein|économisez|économie|remise|ahorra|\
         ahorras|descuento|dto|cupón|desconto|economize|risparmi|sconto|bespaar|korting|\
         oszczędzasz|rabat|kupon|ušetříte|sleva|tasarruf|indirim|spara|säästä|节省|立减|优惠|优惠券|\
         折扣|立省|割引|クーポン|ポイント|お得|할인|적립|쿠폰|خصم|وفر|חסכון|הנחה|tiết kiệm|giảm|hemat|\
         ส่วนลด|скидка|экономия|выгода|знижка|gift card|with code|mit code|avec le code|con codice|met code|over|orders over|above|ab einem|\
         desde compras|free with",
    ),
    (
        Context::Deposit,
        "deposit|pfand|kaution|caution|fianza|statiegeld|pant|kaucja|záloha|eco-participation|\
         éco-participation|down payment|activation fee|fee|fees|tax of|押金|定金|保証金|reservation",
    ),
    (
        Context::Quantity,
        "from 2|for 2 or more|ab 2|ab 3|ab 5|ab 10|or more|dès 2|a partir de 2|per 10|bulk|\
         buy 2|buy 3|staffelpreis|staffelpreise|wholesale|case of|оптовая цена|оптова ціна|\
         оптом|cena hurtowa",
    ),
    (
        Context::Net,
        "ex vat|ex. vat|excl. vat|excl vat|excluding vat|ex tax|excl. tax|ex gst|plus vat|+ vat|\
         netto|zzgl. mwst|exkl. mwst|ohne mwst|ht|hors taxe|h.t|sin iva|iva esclusa|+ iva|\
         excl. btw|bez dph|exkl. moms|ekskl. moms|税抜|税別|本体価格|不含税|без ндс|alv 0|net price",
    ),
    (
        Context::Member,
        "member|members|member price|mitglieder|mitgliederpreis|ledenprijs|prix adhérent|\
         medlemspris|precio socio|socios|con tarjeta|com cartão|\
         für mitglieder|club price|prime|clubcard|mit karte|with card|会員|\
         会员价|members only|plus-mitglied|medlem|jäsen",
    ),
    (
        Context::Payment,
        "com pix|no pix|via pix|à vista|no boleto|com boleto|con transferencia|\
         por transferencia|transferencia bancaria|pagando con|en efectivo|havale|havale ile|\
         eft ile|bei vorkasse|per vorkasse|vorkassepreis|по карте|с картой|\
         с банковской картой|за картою|przy przedpłacie",
    ),
    (
        Context::Used,
        "used|refurbished|open box|open-box|gebraucht|trade-in|trade in|ankauf|occasion|\
         d'occasion|used from|tweedehands|rent|rental|mieten|renewed|中古|二手|brugt|begagnad|używane",
    ),
    (
        Context::Option,
        "add-on|addon|warranty|protection plan|gift wrap|geschenkverpackung|garantie|aufpreis|\
         surcharge|insurance|engraving",
    ),
    (
        Context::Threshold,
        "bestellwert|mindestbestellwert|warenwert|mindestumsatz|minimum order|minimum spend|\
         min. spend|min spend|spend|on orders of|min. purchase|min. belanja|đơn từ|\
         order value|orders from|ordine minimo|ordini superiori|minimo d'ordine|\
         commande minimum|minimum de commande|dès un panier|pedido mínimo|compra mínima|\
         minimale bestelling|minimum bestelbedrag|bestellingen vanaf|\
         minimalna wartość zamówienia|minimální objednávka|minsta ordervärde|minimumsordre|\
         минимальный заказ|минимальная сумма|最低注文|起订",
    ),
    (Context::Regular, "regular price|standard price|normalpreis|normale prijs|prix normal|pvp"),
];

/// What a text before a price with tax ends with.
pub(super) const GROSS_BEFORE: &[&str] = &["税込", "brutto", "含税"];

/// What a text after a price with tax starts with.
pub(super) const GROSS_AFTER: &[&str] = &[
    "inc vat",
    "inc. vat",
    "incl vat",
    "incl. vat",
    "including vat",
    "inc gst",
    "inc. gst",
    "incl. gst",
    "inkl. mwst",
    "inkl mwst",
    "inkl. 19",
    "inkl. 20",
    "inkl. 7",
    "inkl. ust",
    "incl. btw",
    "incl btw",
    "inkl. moms",
    "inkl moms",
    "ttc",
    "s dph",
    "vč. dph",
    "iva incl",
    "iva inclusa",
    "iva incluido",
    "с ндс",
    "tax incl",
    "brutto",
    "税込",
    "inkl. mva",
    "sis. alv",
    "z vat",
    "áfával",
    "kdv dahil",
];

/// Headings of lists of other products.
pub(super) const OTHER_PRODUCTS: &str = "\
    related|you may also|you might also|also bought|also viewed|also like|customers also|\
    similar|recommended|recommendations|recently viewed|frequently bought|more from|\
    complete the look|goes well with|pairs well|accessories|best sellers|bestsellers|ähnliche|\
    das könnte|dazu passt|passend dazu|kunden kauften|kunden kauften auch|zubehör|empfehlungen|\
    zuletzt angesehen|wird oft|vous aimerez|produits similaires|produits associés|\
    vous pourriez|dans la même|también te|productos relacionados|te puede|quienes compraron|\
    productos similares|otros clientes|você também|quem comprou|produtos relacionados|\
    potrebbe|prodotti correlati|prodotti simili|ook bekeken|gerelateerde|anderen bekeken|\
    vergelijkbare|podobne|polecamy|zobacz także|inni klienci|související|podobné|mohlo by|\
    ostatní koupili|benzer|ilgili ürünler|bunlar da|liknande|andra köpte|relaterade|lignende|\
    andre købte|muut ostivat|samankaltaisia|похожие|с этим товаром|рекомендуем|вам может|\
    схожі|з цим товаром|関連商品|おすすめ|この商品を見た|あなたへの|チェックした|相关|猜你喜欢|推荐|\
    看了又看|推薦|相關|관련|추천|함께 본|منتجات|قد يعجبك|ذات صلة|מוצרים דומים|אולי תאהבו|\
    sản phẩm|có thể bạn|produk terkait|สินค้าที่|hasonló|kapcsolódó|produse similare|σχετικά|\
    reviews|customer reviews|bewertungen";

/// Texts of buttons that buy, or that contact the seller of a single thing.
pub(super) const BUY: &str = "\
    add to cart|add to basket|add to bag|add to trolley|buy now|buy it now|buy|purchase|order now|\
    pre-order|preorder|add to order|add to my bag|contact seller|message seller|place bid|\
    in den warenkorb|in den einkaufswagen|in den korb|jetzt kaufen|jetzt bestellen|kaufen|\
    bestellen|vorbestellen|nachricht schreiben|in warenkorb|zum warenkorb hinzufügen|\
    ajouter au panier|acheter|j'achète|je commande|commander|añadir al carrito|agregar al carrito|\
    añadir a la cesta|agregar a la bolsa|agregar a mi bolsa|comprar|comprar ahora|comprar agora|\
    adicionar ao carrinho|adicionar à sacola|adicionar|aggiungi al carrello|acquista|\
    aggiungi alla borsa|in winkelwagen|in winkelmand|in winkelmandje|in mijn winkelwagen|toevoegen aan winkelwagen|\
    do koszyka|dodaj do koszyka|kup teraz|kupuję|skontaktuj się|wyślij wiadomość|do košíku|\
    přidat do košíku|vložit do košíku|koupit|do košíka|pridať do košíka|kosárba|kosárba teszem|\
    adaugă în coș|adauga in cos|în coș|добавить в корзину|в корзину|купить|додати в кошик|\
    в кошик|купити|добави в количката|купи|sepete ekle|satın al|hemen al|legg i handlekurv|\
    legg i handlekurven|kjøp|læg i kurv|læg i kurven|køb|lägg i varukorg|lägg i varukorgen|köp|\
    lägg i korgen|setja í körfu|bæta í körfu|lisää ostoskoriin|osta|lisa ostukorvi|į krepšelį|pievienot grozam|\
    カートに入れる|カートに追加|買い物かごに入れる|かごに追加|購入する|今すぐ買う|ご購入手続き|\
    加入购物车|立即购买|加入購物車|立即購買|放入購物車|장바구니|장바구니 담기|구매하기|바로구매|\
    أضف إلى السلة|أضف إلى عربة التسوق|أضف إلى العربة|اشتري الآن|إضافة إلى السلة|اضافة للسلة|הוסף לסל|\
    הוספה לסל|קנה עכשיו|thêm vào giỏ|thêm vào giỏ hàng|mua ngay|tambah ke keranjang|\
    + keranjang|beli sekarang|masukkan keranjang|หยิบใส่ตะกร้า|เพิ่มลงตะกร้า|เพิ่มไปยังรถเข็น|ซื้อสินค้า|ซื้อเลย|\
    προσθήκη στο καλάθι|αγορά|u košaricu|dodaj u košaricu|dodaj u korpu|v košarico|\
    افزودن به سبد خرید|कार्ट में जोड़ें";

/// Labels of a product's number.
pub(super) const SKU: &str = "\
    sku|item no|item number|item #|article no|art. no|art.nr|art.-nr|art-nr|artikelnummer|\
    artikel-nr|bestellnummer|fahrzeug-nr|fahrzeugnummer|inserat-nr|stock no|stock number|\
    product code|product no|model no|mpn|ean|gtin|isbn|réf|ref|référence|\
    reference|referencia|referência|código|codice|cod. art|artikelnr|productcode|varenr|\
    varenummer|tuotenumero|kod produktu|indeks|kód zboží|kód|katalogové číslo|cikkszám|cod produs|\
    артикул|код товара|код товару|ürün kodu|stok kodu|κωδικός|商品番号|品番|型番|商品编号|货号|\
    商品編號|상품번호|رمز المنتج|رقم المنتج|מק\"ט|mã sản phẩm|kode produk|รหัสสินค้า";

/// Titles of pages that show no single product: lists, searches, carts, forms and errors.
pub(super) const OTHER_PAGES: &str = "\
    404|403|500|not found|page not found|error|access denied|forbidden|robot check|captcha|\
    are you human|just a moment|attention required|nicht gefunden|seite nicht gefunden|fehler|\
    introuvable|page introuvable|erreur|no encontrada|no encontrado|não encontrada|\
    non trovata|niet gevonden|nie znaleziono|nenalezena|nenalezeno|bulunamadı|\
    не найдена|не найдено|見つかりません|页面不存在|找不到|search results|search results for|\
    results for|search|suchergebnisse|suche|suchergebnis|résultats|recherche|resultados|\
    resultados de|busca|risultati|zoekresultaten|wyniki wyszukiwania|výsledky|arama sonuçları|\
    поиск|результаты|результаты поиска|検索結果|搜索结果|搜尋結果|cart|your cart|shopping cart|basket|\
    your basket|shopping bag|checkout|warenkorb|kasse|panier|votre panier|carrito|carrinho|\
    carrello|winkelwagen|koszyk|košík|sepetim|корзина|カート|购物车|login|log in|sign in|register|\
    create account|my account|anmelden|mein konto|connexion|mon compte|se connecter|\
    iniciar sesión|mi cuenta|entrar|accedi|inloggen|zaloguj się|přihlášení|giriş yap|войти|\
    ログイン|登录|登入|wishlist|wunschliste|terms and conditions|privacy policy|impressum|agb|\
    shipping information|contact us|about us|faq|shipping & returns|shipping and returns|\
    page doesn't exist|page does not exist|page no longer exists|diese seite gibt es nicht|\
    diese seite existiert nicht|seite existiert nicht|seite gibt es nicht mehr|\
    cette page n'existe pas|esta página no existe|esta página não existe|\
    questa pagina non esiste|deze pagina bestaat niet|strona nie istnieje|stránka neexistuje|\
    delivery information|versand und zahlung|gift cards faq|order confirmation|compare products";

/// Words of a path that leads to a product, or to another page.
pub(super) const PRODUCT_PATHS: &[&str] = &[
    "product",
    "products",
    "produkt",
    "produkte",
    "produit",
    "produits",
    "producto",
    "productos",
    "produto",
    "produtos",
    "prodotto",
    "prodotti",
    "p",
    "dp",
    "item",
    "items",
    "itm",
    "pd",
    "ip",
    "artikel",
    "article",
    "pdp",
    "sku",
    "goods",
    "detail",
    "details",
    "urun",
    "tuote",
    "vare",
    "tovar",
    "catalogue",
    "listing",
    "oferta",
    "offer",
    "ad",
    "anzeige",
    "d",
    "i",
    "buy",
    "shop",
];

/// Words of a path that leads to a list, a search, a cart, a form or an article.
pub(super) const OTHER_PATHS: &[&str] = &[
    "search",
    "suche",
    "recherche",
    "buscar",
    "busca",
    "cerca",
    "zoeken",
    "szukaj",
    "hledat",
    "category",
    "categories",
    "kategorie",
    "categorie",
    "categoria",
    "cart",
    "basket",
    "checkout",
    "warenkorb",
    "panier",
    "carrito",
    "login",
    "signin",
    "account",
    "register",
    "blog",
    "news",
    "magazin",
    "magazine",
    "journal",
    "stories",
    "story",
    "guide",
    "guides",
    "help",
    "faq",
    "support",
    "wishlist",
    "compare",
    "tag",
    "tags",
    "brand",
    "brands",
    "ratgeber",
];

/// Names of the body of a product page.
pub(super) const PRODUCT_PAGE_NAMES: &[&str] = &[
    "singleproduct",
    "productpage",
    "pageproduct",
    "catalogproduct",
    "productview",
    "pdp",
    "templateproduct",
    "productdetail",
    "productdetails",
    "productsingle",
    "itempage",
    "productmain",
    "isctlproduct",
    "productinfo",
    "productsummary",
    "itemdetail",
    "goodsdetail",
    "detailpage",
    "produktdetail",
    "ficheproduit",
    "fichaproducto",
    "adpage",
    "addetail",
    "productessential",
];

/// Names of the body of a page with a list, an article, a form or an error.
pub(super) const OTHER_PAGE_NAMES: &[&str] = &[
    "catalogcategory",
    "categoryview",
    "categorypage",
    "templatecollection",
    "templatesearch",
    "searchresults",
    "searchpage",
    "templatecart",
    "cartpage",
    "checkout",
    "templateblog",
    "templatearticle",
    "singlepost",
    "errorpage",
    "pagenotfound",
    "accountlogin",
    "taxproductcat",
    "archive",
    "pagesearch",
    "isctllisting",
    "isctlsearch",
    "templatepage",
    "blog",
];
