"""A benchmark's results as a page, a Markdown table and tidy CSV."""
