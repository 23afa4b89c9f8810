"""Other libraries' ways to use the model: one file each, each behind its extra."""
