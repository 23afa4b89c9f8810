"""A user's classifier on embeddings: trained, saved with the encoder, used."""
