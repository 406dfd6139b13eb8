"""Text -> emotions, acts, danger, relevance; the shipped weights and their cards."""
