"""Results as one page, Markdown and CSV."""
