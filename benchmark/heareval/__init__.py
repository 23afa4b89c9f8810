"""heareval."""
