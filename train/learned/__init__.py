"""What a training changed, as data and as a page."""
