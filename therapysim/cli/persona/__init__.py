"""``therapysim persona``: patients of one's own, one file a command."""
