-- What all workers share about a host. Only hosts that are limited, or once were, have a row. The key is the lower-case
-- ASCII name, with `:port` only where that is not the scheme's default.
CREATE TABLE hosts (
    host            VARCHAR(260)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    rate            DOUBLE        NULL COMMENT 'requests per second, set by an operator; NULL without a limit',
    paused          BOOLEAN       NOT NULL DEFAULT FALSE COMMENT 'set by an operator',
    cool_down_until DATETIME(6)   NULL COMMENT 'UTC; the host has asked for nothing before that',
    slowed          DOUBLE        NULL COMMENT 'requests per second, while the host refuses too many',
    slowed_at       DATETIME(6)   NULL COMMENT 'UTC; when that was changed last',
    crawl_delay     DOUBLE        NULL COMMENT 'seconds between requests, by its robots.txt',
    next_us         BIGINT        NOT NULL DEFAULT 0 COMMENT 'the next slot that nobody has reserved, in microseconds since 1970',
    note            VARCHAR(500)  NULL COMMENT 'what was changed last by the host itself, and why',
    changed_at      DATETIME(6)   NOT NULL COMMENT 'UTC; when anything but next_us was changed',
    KEY hosts_by_change (changed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
