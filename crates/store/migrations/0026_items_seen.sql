-- When a product was seen last, changed or not. In no index, since it changes with every run. Added only where it is missing,
-- so that a migration that was interrupted can be run again.
SET @add_seen_at = IF(
    (SELECT COUNT(*) FROM information_schema.columns
     WHERE table_schema = DATABASE() AND table_name = 'items' AND column_name = 'seen_at') = 0,
    'ALTER TABLE items ADD COLUMN seen_at DATETIME(6) NULL COMMENT ''UTC; the last fetch that found the product, changed or not; NULL before the first one since the column exists''',
    'DO 0');
PREPARE add_seen_at FROM @add_seen_at;
EXECUTE add_seen_at;
DEALLOCATE PREPARE add_seen_at;
