"""Results on disk: one record, one JSON file, and why others are not there."""
