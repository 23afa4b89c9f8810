"""A user's classifier on embeddings: trained, saved beside the encoder, used."""
