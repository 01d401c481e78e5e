ALTER TABLE fetches
    ADD COLUMN given_url TEXT NULL COMMENT 'as it was given, where that is not url; NULL too where it held credentials',
    ADD COLUMN rewrites INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'how often the row was written again: for a copy of its message, or a replay';
