"""Clips of a task in a pretraining store."""
