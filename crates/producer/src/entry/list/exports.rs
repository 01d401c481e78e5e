//! Exports of common programs, with invented content.

use super::*;
use crate::entry::describe;

/// The tasks of an export; an entry that is not published begins with `invalid: ` or `#`.
async fn read(name: &str, bytes: &[u8]) -> Vec<String> {
    let charset = Charset::recognise(bytes, None).unwrap();
    let text: Text = Box::new(io::Cursor::new(bytes.to_vec()));
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    let hints = ListHints { extension, ..ListHints::default() };
    let mut list = List::new(charset.decode(BufReader::new(text)), charset, hints);
    let mut contents = Vec::new();
    while let Some(entry) = list.next().await.unwrap() {
        contents.push(describe(entry.content));
    }
    contents
}

const SHOPIFY_PRODUCTS: &str = "Handle,Title,Body (HTML),Vendor,Tags,Image Src,URL\r\n\
    green-tea,\"Green Tea, 100 g\",\"<p>Fresh.\r\nSpring \"\"first flush\"\".</p>\",Leaf & Co,\
    \"tea, green\",https://cdn.shop.example/files/1.jpg?v=17,\
    https://shop.example/products/green-tea?variant=1\r\n\
    green-tea,,,,,https://cdn.shop.example/files/2.jpg?v=17,\r\n";

const SHOPIFY_ORDERS: &str = "Name,Email,Financial Status,Total,Order Status Link\n\
    #1001,ann@mail.example,paid,12.90,https://shop.example/orders/a1?key=x,y\n\
    #1002,bob@mail.example,paid,7.50,https://shop.example/orders/b2\n\
    #1003,\"Cy, Inc\",refunded,1.00,\"https://shop.example/orders/c3?a=1,2\"\n";

const WOOCOMMERCE: &str = "\u{feff}ID,Type,SKU,Name,Categories,Images,\"External URL\",Position\n\
    14,external,T-1,\"Tea \"\"No. 5\"\"\",\"Drinks > Tea, Drinks\",\
    \"https://woo.example/u/1.jpg, https://woo.example/u/2.jpg\",\
    https://partner.example/p?id=14&ref=woo,0\n\
    15,external,T-2,Mug,Home,https://woo.example/u/3.jpg,https://partner.example/p?id=15,0\n";

const GOOGLE_SHEETS: &str = "Product,Page,Price\r\n\
    Tea,https://shop.example/p/1,\"1,99\"\r\n,,\r\nJam,https://shop.example/p/2,\"2,49\"";

const EXCEL: &str = "Ware;Preis;Link;Notiz\r\n\
    Grüner Tee;1,99;https://shop.example/p/1;\"süß; mild\"\r\n\
    Kräuter;2,49;https://shop.example/p/2;\r\n";

const EXCEL_UNICODE_TEXT: &str = "Ware\tLink\tcategory\r\n\
    \"Tee, \"\"grün\"\"\"\thttps://shop.example/p/1,2\tTee\r\n";

const SCREAMING_FROG: &str = "\u{feff}\"Address\",\"Content Type\",\"Status Code\",\"Canonical\"\n\
    \"https://shop.example/\",\"text/html; charset=UTF-8\",\"200\",\"https://shop.example/\"\n\
    \"https://shop.example/a,b\",\"text/html\",\"301\",\"\"\n";

const SEARCH_CONSOLE: &str = "Top pages,Clicks,Impressions,CTR,Position\n\
    https://shop.example/tea,120,4000,3%,4.1\n\
    \"https://shop.example/tea,green\",7,90,7.8%,9.9\n";

#[tokio::test]
async fn exports_of_shops_are_read() {
    assert_eq!(
        read("products.csv", SHOPIFY_PRODUCTS.as_bytes()).await,
        [
            "#h",
            "https://shop.example/products/green-tea?variant=1",
            "invalid: the URL is not usable: it is empty"
        ]
    );
    let orders = read("orders.csv", SHOPIFY_ORDERS.as_bytes()).await;
    assert!(orders[1].contains("different number of cells"), "{orders:?}");
    assert_eq!(
        orders[2..],
        ["https://shop.example/orders/b2", "https://shop.example/orders/c3?a=1,2"]
    );
    assert_eq!(
        read("wc-export.csv", WOOCOMMERCE.as_bytes()).await,
        ["#h", "https://partner.example/p?id=14&ref=woo", "https://partner.example/p?id=15"]
    );
}

#[tokio::test]
async fn exports_of_spreadsheets_are_read() {
    assert_eq!(
        read("Sheet1.csv", GOOGLE_SHEETS.as_bytes()).await,
        ["#h", "https://shop.example/p/1", "#b", "https://shop.example/p/2"]
    );
    let (windows_1252, _, _) = encoding_rs::WINDOWS_1252.encode(EXCEL);
    assert_eq!(
        read("Mappe1.csv", &windows_1252).await,
        ["#h", "https://shop.example/p/1", "https://shop.example/p/2"]
    );
    let marked = format!("\u{feff}{EXCEL_UNICODE_TEXT}");
    let utf_16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read("Mappe1.txt", &utf_16).await, ["#h", "https://shop.example/p/1,2 Tee"]);
}

#[tokio::test]
async fn exports_of_crawlers_and_search_engines_are_read() {
    assert_eq!(
        read("internal_html.csv", SCREAMING_FROG.as_bytes()).await,
        ["#h", "https://shop.example/", "https://shop.example/a,b"]
    );
    assert_eq!(
        read("Pages.csv", SEARCH_CONSOLE.as_bytes()).await,
        ["#h", "https://shop.example/tea", "https://shop.example/tea,green"]
    );
}
