ALTER TABLE workers
    ADD COLUMN obstacle VARCHAR(500) NULL COMMENT 'why it fetches nothing; NULL while it can';
