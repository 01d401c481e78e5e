-- In no index, since it changes with every fetch.
ALTER TABLE items
    ADD COLUMN seen_at DATETIME(6) NULL COMMENT 'UTC; the last fetch that found it; NULL before one';
