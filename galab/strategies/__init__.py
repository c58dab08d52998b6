"""Strategies: ask whom to evaluate, tell the scores. A strategy holds births, never weights."""
