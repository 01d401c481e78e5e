-- What is known of a page that is fetched again and again: the validators of its last full answer,
-- and the row of `fetches` that has this answer. A row is a page as one kind of request sees it.
CREATE TABLE pages (
    page          BINARY(16)       NOT NULL PRIMARY KEY COMMENT 'hash of the URL and of what the request tells the site',
    fetch_id      BINARY(16)       NOT NULL COMMENT 'fetches.id of the last full answer',
    body_sha256   BINARY(32)       NOT NULL COMMENT 'of that answer',
    has_body      BOOLEAN          NOT NULL COMMENT 'whether that row was written with a body',
    etag          VARBINARY(512)   NULL COMMENT 'as the site sent it; NULL without a usable one',
    last_modified VARBINARY(64)    NULL COMMENT 'as the site sent it; NULL without a usable one',
    address       BINARY(16)       NOT NULL COMMENT 'hash of the URL that sent the answer, after redirects',
    reader        BINARY(16)       NOT NULL COMMENT 'hash of what decides how a body is stored and read',
    trusted       BOOLEAN          NOT NULL COMMENT 'FALSE while the same validators come with other bodies',
    unchanged     INT UNSIGNED     NOT NULL COMMENT 'answers 304 since the last full answer',
    checks        TINYINT UNSIGNED NOT NULL COMMENT 'full answers in a row that proved such answers true',
    fetched_at    DATETIME(6)      NOT NULL COMMENT 'UTC; the last fetch'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
