"""Heads on embeddings: what each protocol chooses and trains."""
