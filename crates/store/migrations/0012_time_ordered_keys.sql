-- Keys of 16 bytes that begin with a time: new rows are appended, and old rows are dropped with
-- their week. `migrate` exchanges these tables with the former ones, makes the partitions of the
-- weeks, and copies the rows.
CREATE TABLE fetches_next (
    id           BINARY(16)        NOT NULL PRIMARY KEY COMMENT 'begins with 6 bytes for a time',
    run          VARCHAR(100)      NOT NULL,
    url          TEXT              NOT NULL,
    given_url    TEXT              NULL COMMENT 'as it was given, where that differs',
    final_url    TEXT              NULL COMMENT 'where redirects led; NULL without one',
    method       VARCHAR(10)       NOT NULL,
    outcome      VARCHAR(20)       NOT NULL,
    status       SMALLINT UNSIGNED NULL COMMENT 'of the last answer; NULL without one',
    content_type VARCHAR(255)      NULL,
    body_bytes   BIGINT UNSIGNED   NULL COMMENT 'after decompression',
    body_sha256  BINARY(32)        NULL COMMENT 'after decompression',
    body_json    LONGTEXT          NULL COMMENT 'a body that is JSON, exactly as it came',
    body_text    LONGTEXT          NULL COMMENT 'a body that is other text, in UTF-8',
    body         LONGBLOB          NULL COMMENT 'any other body',
    product      VARCHAR(10)       NULL COMMENT 'found, suspect, no_price or none',
    error        VARCHAR(1000)     NULL,
    attempts     INT UNSIGNED      NOT NULL,
    elapsed_ms   INT UNSIGNED      NOT NULL COMMENT 'the last attempt, redirects and body included',
    fetched_at   DATETIME(6)       NOT NULL COMMENT 'UTC',
    worker       VARCHAR(255)      NOT NULL,
    message_id   VARCHAR(255)      NULL,
    rewrites     INT UNSIGNED      NOT NULL DEFAULT 0 COMMENT 'how often it was written again',
    KEY fetches_by_run (run, outcome, id, status),
    KEY fetches_by_time (fetched_at, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC
PARTITION BY RANGE COLUMNS (id) (
    PARTITION undated VALUES LESS THAN (X'000000FF000000000000000000000000'),
    PARTITION later VALUES LESS THAN (MAXVALUE)
);
CREATE TABLE quarantine_next (
    id       BINARY(16)   NOT NULL PRIMARY KEY COMMENT 'the key of the task, as in fetches',
    begun    INT UNSIGNED NOT NULL COMMENT 'how often, without an end',
    worker   VARCHAR(255) NOT NULL COMMENT 'who began it last',
    begun_at DATETIME(6)  NOT NULL COMMENT 'UTC; when that was',
    KEY quarantine_by_time (begun_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
-- How far a long operation has come, so that it goes on there after an interruption.
CREATE TABLE positions (
    operation  VARCHAR(50)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    last_key   VARBINARY(32) NOT NULL COMMENT 'of the last row that is done',
    fetched_at DATETIME(6)   NULL COMMENT 'of that row, where times order the rows'
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
