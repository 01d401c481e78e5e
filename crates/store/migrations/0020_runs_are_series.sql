-- A run's name is a series of parts. Its newest part is found by an index, however many there are.
ALTER TABLE runs
    ADD COLUMN completed_at DATETIME(6) NULL COMMENT 'UTC; when a worker found that every planned task has its row, and folded the counts',
    ADD KEY runs_by_name (run, created_at),
    ADD KEY runs_by_time (created_at),
    ADD KEY runs_incomplete (completed_at, closed_at);
