-- The workers that run, each with what it does. A row is deleted when its worker ends or is lost.
CREATE TABLE IF NOT EXISTS workers (
    prefix       VARCHAR(100)    NOT NULL COMMENT 'of the fleet on the broker',
    pod          VARCHAR(255)    NOT NULL,
    started_at   DATETIME(6)     NOT NULL COMMENT 'UTC; of the process',
    seen_at      DATETIME(6)     NOT NULL COMMENT 'UTC; written every few seconds',
    paused_since DATETIME(6)     NULL COMMENT 'UTC; NULL while it takes tasks',
    concurrency  INT UNSIGNED    NOT NULL,
    unacked      INT UNSIGNED    NOT NULL COMMENT 'messages that it holds',
    directive    BIGINT UNSIGNED NULL COMMENT 'the offset of the last directive that it has obeyed',
    PRIMARY KEY (prefix, pod)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
