"""The protocol that trains encoder and head end to end."""
