-- What the workers have told the operator, or carried out for one: many of them notice a fact, and one tells it.
CREATE TABLE IF NOT EXISTS facts (
    fact     BINARY(32)  NOT NULL PRIMARY KEY COMMENT 'the hash of its name',
    claim    BINARY(16)  NOT NULL COMMENT 'of the worker that tells it',
    told     BOOLEAN     NOT NULL COMMENT 'whether that worker has done so',
    noted_at DATETIME(6) NOT NULL COMMENT 'UTC',
    KEY facts_by_time (noted_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
