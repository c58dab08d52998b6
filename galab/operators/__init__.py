"""Breeding: who ranks where, who survives, who lives on which island, and who mates with whom."""
