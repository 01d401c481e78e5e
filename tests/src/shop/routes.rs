//! The table of paths. `{id}` is the number of a product; `{*rest}` is anything, and the number that it ends in is the
//! product that is served where one is.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, get, post},
};

use super::{admin, bodies, charsets, compression, failures, products, raw, redirects, timing};

pub(super) fn routes(books: admin::Books) -> Router {
    Router::new()
        // What the shop is for.
        .route("/p/{id}", any(products::page)) // HTML with JSON-LD; JSON as /p/{id}.json
        .route("/big/{id}", any(products::big)) // the same page in some 40 kB
        .route("/robots.txt", get(admin::robots)) // 404 until one is set
        // Late, or never.
        .route("/slow/{ms}/{*rest}", any(timing::slow)) // JSON after ms
        .route("/hang/{*rest}", any(timing::hang)) // no answer
        .route("/hang-body/{*rest}", any(timing::hang_body)) // headers, half a body, silence
        .route("/drip/{ms}/{*rest}", any(timing::drip)) // a byte every ms, for ever
        // Failures that HTTP has words for.
        .route("/flaky/{n}/{*rest}", any(failures::flaky)) // 500 n times, then JSON
        .route("/busy/{seconds}/{n}/{*rest}", any(failures::busy)) // 429 n times, then JSON
        .route("/busy-date/{seconds}/{n}/{*rest}", any(failures::busy_date)) // Retry-After as a date
        .route("/status/{code}/{*rest}", any(failures::status))
        // Elsewhere.
        .route("/redirect/{n}/{*rest}", any(redirects::hops)) // n hops, then the product's page
        .route("/redirect-loop/{*rest}", any(redirects::to_itself))
        .route("/redirect-endless/{n}/{*rest}", any(redirects::ever_on)) // never the same path twice
        .route("/redirect-to", any(redirects::to)) // ?url=…&status=302
        .route("/redirect-long/{bytes}/{*rest}", any(redirects::to_long)) // to a URL of so many bytes
        // Sound answers that are hard to take.
        .route("/huge/{mib}/{*rest}", any(bodies::huge)) // with its Content-Length
        .route("/endless/{*rest}", any(bodies::endless)) // chunked, as fast as it is read
        .route("/empty/{*rest}", any(bodies::empty)) // 200
        .route("/no-content/{*rest}", any(bodies::no_content)) // 204
        .route("/image/{*rest}", any(bodies::image)) // a PNG of one pixel
        .route("/bad-json/{*rest}", any(bodies::bad_json)) // a product's JSON that breaks off
        .route("/deep-json/{depth}/{*rest}", any(bodies::deep_json)) // so many nested arrays
        .route("/json-key/{bytes}/{*rest}", any(bodies::json_key)) // an object whose one key has so many bytes
        .route("/json-zeros/{mib}/{*rest}", any(bodies::json_zeros)) // an array of zeros, of so many MiB
        .route("/headers/{kib}/{*rest}", any(bodies::headers)) // response headers of so many KiB
        .route("/echo", any(bodies::echo)) // what arrived, as JSON
        .route("/echo/{*rest}", any(bodies::echo))
        .route("/take/{ms}/{*rest}", any(bodies::take)) // reads the request, and after ms says how long it was
        // A product's page whose name needs the charset.
        .route("/charset/{name}/{*rest}", any(charsets::by_header))
        .route("/charset-meta/{name}/{*rest}", any(charsets::by_meta))
        .route("/charset-unknown/{*rest}", any(charsets::unknown)) // UTF-8 that claims what is no charset
        .route("/charset-wrong/{*rest}", any(charsets::wrong)) // windows-1252 that claims UTF-8
        // Compressed: gzip, br, zstd or deflate, whatever the request accepts.
        .route("/compressed/{coding}/{*rest}", any(compression::page))
        .route("/compressed-broken/{*rest}", any(compression::broken))
        .route("/compressed-cut/{coding}/{*rest}", any(compression::cut)) // the end is missing
        .route("/compressed-twice/{*rest}", any(compression::twice)) // gzip in br
        .route("/compressed-unknown/{*rest}", any(compression::unknown)) // claims a coding that there is not
        .route("/compressed-followed/{*rest}", any(compression::followed)) // gzip with rubbish behind it
        .route("/window/{coding}/{log}/{*rest}", any(compression::window)) // br or zstd with a window of 2^log bytes
        .route("/bomb/{coding}/{*rest}", any(compression::bomb)) // gzip, zstd: to 1 GiB; br: to 32 MiB
        // What is no HTTP.
        .route("/truncated/{*rest}", any(raw::truncated)) // Content-Length promises more
        .route("/truncated-chunked/{*rest}", any(raw::truncated_chunked)) // no last chunk
        .route("/wrong-length/{*rest}", any(raw::wrong_length)) // Content-Length promises less
        .route("/reset/{*rest}", any(raw::reset)) // RST instead of an answer
        .route("/garbage/{*rest}", any(raw::garbage))
        // For the tests; not counted.
        .route("/-/visits", get(admin::visits)) // ?path=…&top=10
        .route("/-/urls", get(admin::urls)) // ?count=5000&from=0&kind=page|json|big
        .route("/-/reset", post(admin::reset))
        .route("/-/revision/{revision}", post(admin::revise))
        .layer(DefaultBodyLimit::disable())
        .with_state(books)
}
