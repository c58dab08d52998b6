"""Numbers in words, as answers and tables show them."""

from __future__ import annotations


def p_text(p: float) -> str:
    """A p value with three decimals, or with two digits where that would be 0."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
