"""The recipe of the shipped patient adapter."""
