-- One row is the newest outcome of one task. The key is the task's own, computed by the program: collations would merge
-- URLs that differ, and a URL is too long for an index. The character set is spelt out since server defaults differ.
CREATE TABLE fetches (
    id           BINARY(32)        NOT NULL PRIMARY KEY,
    run          VARCHAR(100)      NOT NULL,
    url          TEXT              NOT NULL,
    final_url    TEXT              NULL COMMENT 'where redirects led; NULL without one',
    method       VARCHAR(10)       NOT NULL,
    outcome      VARCHAR(20)       NOT NULL,
    status       SMALLINT UNSIGNED NULL COMMENT 'of the last answer; NULL without one',
    content_type VARCHAR(255)      NULL,
    body_bytes   BIGINT UNSIGNED   NULL COMMENT 'after decompression',
    body_sha256  BINARY(32)        NULL COMMENT 'after decompression',
    body_json    JSON              NULL,
    body_text    LONGTEXT          NULL,
    body         LONGBLOB          NULL,
    error        VARCHAR(1000)     NULL,
    attempts     INT UNSIGNED      NOT NULL,
    elapsed_ms   INT UNSIGNED      NOT NULL COMMENT 'the last try, redirects and body included',
    fetched_at   DATETIME(6)       NOT NULL COMMENT 'UTC',
    worker       VARCHAR(255)      NOT NULL,
    message_id   VARCHAR(255)      NULL,
    KEY fetches_by_run (run, outcome)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
