-- Price changes of a night, or of the last 24 hours. Entries are only ever added at the end.
ALTER TABLE price_history ADD KEY price_history_by_time (seen_at);
