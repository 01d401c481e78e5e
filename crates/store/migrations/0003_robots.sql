-- The robots.txt of an origin (scheme, host and port), asked for once a day by one worker for all.
CREATE TABLE robots (
    origin      VARCHAR(270) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    fetched_at  DATETIME(6)       NULL COMMENT 'UTC; NULL before the first answer',
    status      SMALLINT UNSIGNED NULL COMMENT 'of the answer; NULL where there was none',
    body        MEDIUMBLOB        NULL COMMENT 'the first 500 KiB of a 2xx answer',
    lease_until DATETIME(6)       NULL COMMENT 'UTC; until then one worker is asking for it'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
