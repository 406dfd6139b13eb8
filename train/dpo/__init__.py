"""A therapist that learns from pairs of answers, the better one and the worse: direct preference optimisation."""
