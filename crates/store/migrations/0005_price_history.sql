-- The last one of an item is its price, where it has one.
CREATE TABLE price_history (
    item_id  BIGINT UNSIGNED NOT NULL,
    seen_at  DATETIME(6)     NOT NULL COMMENT 'UTC',
    price    DECIMAL(19,4)   NOT NULL,
    currency CHAR(3) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'ISO 4217',
    source   VARCHAR(10)     NOT NULL COMMENT 'page or manual',
    PRIMARY KEY (item_id, seen_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
