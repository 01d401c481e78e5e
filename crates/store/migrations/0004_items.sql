-- One row is the newest that is known of a product. The key of its page is the hash of `source_url`, which is too long
-- for an index.
CREATE TABLE items (
    id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    source_sha256 BINARY(32)      NOT NULL COMMENT 'of source_url',
    source_url    TEXT            NOT NULL,
    name          VARCHAR(500)    NULL,
    price         DECIMAL(19,4)   NULL COMMENT 'NULL where the page tells none',
    currency      CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'ISO 4217',
    category      VARCHAR(200)    NULL,
    sku           VARCHAR(100)    NULL,
    brand         VARCHAR(200)    NULL,
    availability  VARCHAR(50)     NULL,
    image_url     TEXT            NULL,
    canonical_url TEXT            NULL COMMENT 'what the page gives as its own address',
    variants      INT UNSIGNED    NOT NULL DEFAULT 0 COMMENT 'how many prices of the page this one is the lowest of',
    updated_at    DATETIME(6)     NOT NULL COMMENT 'UTC; the fetch, or the change by hand, that this row is from',
    UNIQUE KEY items_by_source (source_sha256),
    KEY items_by_category (category, updated_at),
    KEY items_by_time (updated_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
