-- The rows of one night are read without those of the others, in key order. The index also covers the counts by outcome and status.
ALTER TABLE fetches
    ADD COLUMN part VARCHAR(100) NOT NULL DEFAULT '' COMMENT 'the part of the run; empty for tasks that belong to none, and in rows from before there was this column' AFTER run,
    DROP KEY fetches_by_run,
    ADD KEY fetches_by_run (run, part, outcome, id, status);
