"""A classifier of one's own on embeddings: trained, saved beside the encoder, used."""
