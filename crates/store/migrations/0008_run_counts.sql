-- How many rows `fetches` has of a run, by part and outcome: the sum over the slots, of which one alone may be negative.
-- Changed in the transaction that changes the rows. Several slots, so that those who write do not wait for each other.
CREATE TABLE run_counts (
    run     VARCHAR(100)     NOT NULL,
    part    VARCHAR(100)     NOT NULL COMMENT 'empty for tasks that belong to none',
    outcome VARCHAR(20)      NOT NULL,
    slot    TINYINT UNSIGNED NOT NULL,
    tasks   BIGINT           NOT NULL,
    PRIMARY KEY (run, part, outcome, slot)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
