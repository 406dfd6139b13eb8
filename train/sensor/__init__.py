"""The recipe of the shipped emotion sensor and of the heads on its encoder."""
