"""Means, differences and rates with intervals, where sessions come in patients."""
