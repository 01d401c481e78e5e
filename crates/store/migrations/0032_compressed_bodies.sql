ALTER TABLE fetches
    ADD COLUMN body_zstd LONGBLOB NULL COMMENT 'any body, compressed with zstd';
