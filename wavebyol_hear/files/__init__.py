"""Files: sound read ahead in batches, atomic writes, locks, settings."""
