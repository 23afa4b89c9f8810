"""Baselines, one HEAR module a file."""
