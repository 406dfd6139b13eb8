"""The reward's terms: one construct a file, each a function ``Transition -> float``."""
