"""Student's t without scipy: its distribution and its quantiles."""

import math

from therapysim.errors import require_count, require_number

__all__ = ["t_cdf", "t_quantile"]


def t_cdf(t: float, freedom: int) -> float:
    """Student's t distribution, exact for whole degrees of freedom. Source: Abramowitz & Stegun 1964, 26.7.3-26.7.4."""
    odd, cosine2 = freedom % 2, freedom / (freedom + t * t)
    sine, term, total = t / math.sqrt(freedom + t * t), 1.0, 0.0
    for j in range(freedom // 2):
        total += term
        term *= (2 * j + 1 + odd) / (2 * j + 2 + odd) * cosine2
    inner = (
        2 / math.pi * (math.atan2(t, math.sqrt(freedom)) + sine * math.sqrt(cosine2) * total) if odd else sine * total
    )
    return min(1.0, max(0.0, 0.5 + inner / 2))


def t_quantile(p: float, freedom: int) -> float:
    """Where ``t_cdf`` reaches p, by bisection; p in (0, 1), freedom at least 1.

    Raises:
        ConfigError: p or freedom is out of range.
    """
    require_number("p", p, 1e-9, 1 - 1e-9)
    require_count("freedom", freedom, 1)
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < p:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2
