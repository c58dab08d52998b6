"""Breeding: who ranks where, who becomes a parent, and (later) how parents' weights are combined."""
