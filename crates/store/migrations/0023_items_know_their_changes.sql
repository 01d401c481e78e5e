-- What changed of an item, other than its price: only a change moves an entry of the two indexes. Old rows have NULL.
ALTER TABLE items
    ADD COLUMN run VARCHAR(100) NULL COMMENT 'the run that last saw the product',
    ADD COLUMN created_at DATETIME(6) NULL COMMENT 'UTC; when the product was first seen',
    ADD COLUMN status VARCHAR(10) NULL COMMENT 'found, no_price or gone',
    ADD COLUMN status_since DATETIME(6) NULL COMMENT 'UTC; when that became so',
    ADD COLUMN availability_before VARCHAR(50) NULL COMMENT 'before the last change of availability',
    ADD COLUMN availability_since DATETIME(6) NULL COMMENT 'UTC; the last change of availability; NULL before the first one',
    ADD KEY items_by_status_time (status_since),
    ADD KEY items_by_availability_time (availability_since);
