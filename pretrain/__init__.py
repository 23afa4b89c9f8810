"""Pretraining: audio files to a store, the store to augmented views, views to encoder weights."""
