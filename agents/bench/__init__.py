"""Policies against patients: what is played, what is kept of it, and the report."""
