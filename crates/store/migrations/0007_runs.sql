-- One row is a part of a run: one `produce`. A part without a name stands for the messages that belong to none; it has a
-- row only where the run was cancelled.
CREATE TABLE runs (
    run          VARCHAR(100)    NOT NULL,
    part         VARCHAR(100)    NOT NULL,
    planned      BIGINT UNSIGNED NULL COMMENT 'how many tasks were published; NULL while the part is open',
    created_at   DATETIME(6)     NOT NULL COMMENT 'UTC; by the clock of whoever published it',
    closed_at    DATETIME(6)     NULL COMMENT 'UTC; by the same clock',
    cancelled_at DATETIME(6)     NULL COMMENT 'UTC; since then its waiting tasks are not fetched',
    PRIMARY KEY (run, part),
    KEY runs_cancelled (cancelled_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
