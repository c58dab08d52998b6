"""Evaluation: many members of one module at once, and the executors that carry it out."""
