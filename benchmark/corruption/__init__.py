"""Test clips spoilt in stated ways."""
