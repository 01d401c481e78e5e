-- One row is a task that was begun after it had come back several times, and has not ended. A task that is begun again and
-- again and never ends takes its worker down with it. A row is deleted when its task ends, or after a week.
CREATE TABLE IF NOT EXISTS quarantine (
    id       BINARY(32)   NOT NULL PRIMARY KEY COMMENT 'the key of the task, as in fetches',
    begun    INT UNSIGNED NOT NULL COMMENT 'how often the task was begun without coming to an end',
    worker   VARCHAR(255) NOT NULL COMMENT 'who began it last',
    begun_at DATETIME(6)  NOT NULL COMMENT 'UTC; when that was',
    KEY quarantine_by_time (begun_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin ROW_FORMAT = DYNAMIC;
