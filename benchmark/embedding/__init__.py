"""Sound to embeddings through the HEAR API, cached, and what that costs."""
