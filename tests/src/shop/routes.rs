//! The table of paths. `{id}` is the number of a product. `{*rest}` is any text; where a product is
//! served, it is the one whose number the text ends in.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{any, get, post},
};

use super::{
    admin, bodies, charsets, compression, failures, posted, products, raw, redirects, timing,
};

pub(super) fn routes(state: admin::ShopState) -> Router {
    Router::new()
        // Product pages.
        .route("/p/{id}", any(products::page)) // HTML with JSON-LD; JSON as /p/{id}.json
        .route("/big/{id}", any(products::big)) // the same page with about 40 kB
        .route("/posted/{*rest}", any(posted::page)) // 404 until a test puts it up
        .route("/robots.txt", get(admin::robots)) // 404 until one is set
        // Late answers, or none.
        .route("/slow/{ms}/{*rest}", any(timing::slow)) // JSON after `ms`
        .route("/hang/{*rest}", any(timing::hang)) // no answer
        .route("/hang-body/{*rest}", any(timing::hang_body)) // headers, half a body, silence
        .route("/drip/{ms}/{*rest}", any(timing::drip)) // a byte every `ms`, forever
        // Failures with an HTTP status.
        .route("/flaky/{n}/{*rest}", any(failures::flaky)) // 500 n times, then JSON
        .route("/busy/{seconds}/{n}/{*rest}", any(failures::busy)) // 429 n times, then JSON
        .route("/busy-date/{seconds}/{n}/{*rest}", any(failures::busy_date)) // Retry-After: date
        .route("/status/{code}/{*rest}", any(failures::status))
        // Redirects.
        .route("/redirect/{n}/{*rest}", any(redirects::hops)) // n hops, then the product's page
        .route("/redirect-loop/{*rest}", any(redirects::loop_back))
        .route("/redirect-endless/{n}/{*rest}", any(redirects::endless)) // never the same path
        .route("/redirect-to", any(redirects::to)) // ?url=…&status=302
        .route("/redirect-long/{bytes}/{*rest}", any(redirects::to_long)) // to a long path
        // Valid answers that are hard to handle.
        .route("/huge/{mib}/{*rest}", any(bodies::huge)) // with its Content-Length
        .route("/endless/{*rest}", any(bodies::endless)) // chunked, as fast as it is read
        .route("/empty/{*rest}", any(bodies::empty)) // 200
        .route("/no-content/{*rest}", any(bodies::no_content)) // 204
        .route("/image/{*rest}", any(bodies::image)) // a PNG of one pixel
        .route("/bad-json/{*rest}", any(bodies::bad_json)) // a product's JSON that breaks off
        .route("/deep-json/{depth}/{*rest}", any(bodies::deep_json)) // nested arrays
        .route("/json-key/{bytes}/{*rest}", any(bodies::json_key)) // an object with one long key
        .route("/json-zeros/{mib}/{*rest}", any(bodies::json_zeros)) // an array of zeros
        .route("/headers/{kib}/{*rest}", any(bodies::headers)) // large response headers
        .route("/echo", any(bodies::echo)) // the request, as JSON
        .route("/echo/{*rest}", any(bodies::echo))
        .route("/take/{ms}/{*rest}", any(bodies::receive)) // the request's length, after `ms`
        // Pages of products whose names need the charset.
        .route("/charset/{name}/{*rest}", any(charsets::by_header))
        .route("/charset-meta/{name}/{*rest}", any(charsets::by_meta))
        .route("/charset-unknown/{*rest}", any(charsets::unknown)) // UTF-8, declared otherwise
        .route("/charset-wrong/{*rest}", any(charsets::wrong)) // windows-1252, declared as UTF-8
        // Compressed pages: gzip, br, zstd or deflate, whatever the request accepts.
        .route("/compressed/{coding}/{*rest}", any(compression::page))
        .route("/compressed-broken/{*rest}", any(compression::broken))
        .route("/compressed-cut/{coding}/{*rest}", any(compression::cut)) // the end is missing
        .route("/compressed-twice/{*rest}", any(compression::twice)) // gzip in br
        .route("/compressed-unknown/{*rest}", any(compression::unknown)) // an unknown coding
        .route("/compressed-followed/{*rest}", any(compression::followed)) // trailing bytes
        // br or zstd with a window of 2^log bytes.
        .route("/window/{coding}/{log}/{*rest}", any(compression::window))
        // Decompresses to 1 GiB (gzip and zstd) or 32 MiB (br).
        .route("/bomb/{coding}/{*rest}", any(compression::bomb))
        // Invalid HTTP.
        .route("/truncated/{*rest}", any(raw::truncated)) // less than its Content-Length
        .route("/truncated-chunked/{*rest}", any(raw::truncated_chunked)) // no last chunk
        .route("/wrong-length/{*rest}", any(raw::wrong_length)) // more than its Content-Length
        .route("/reset/{*rest}", any(raw::reset)) // RST instead of an answer
        .route("/garbage/{*rest}", any(raw::garbage))
        // Administration, not counted.
        .route("/-/visits", get(admin::visits)) // ?path=…&top=10
        .route("/-/urls", get(admin::urls)) // ?count=5000&from=0&kind=page|json|big
        .route("/-/reset", post(admin::reset))
        .route("/-/revision/{revision}", post(admin::revise))
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}
