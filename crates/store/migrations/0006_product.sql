-- What a page tells. Old rows have NULL.
ALTER TABLE fetches ADD COLUMN product VARCHAR(10) NULL COMMENT 'found, no_price or none; NULL where no page was read';
