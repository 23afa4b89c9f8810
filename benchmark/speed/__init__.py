"""Speeds beside what they are compared with."""
