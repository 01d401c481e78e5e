-- The counts tell apart what the pages contained. What was counted before has the empty word.
ALTER TABLE run_counts
    ADD COLUMN product VARCHAR(10) NOT NULL DEFAULT '' COMMENT 'as in fetches; empty where no page was read' AFTER outcome,
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (run, part, outcome, product, slot);
