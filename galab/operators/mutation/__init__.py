"""Mutation: one operator a file, and ``step_size.py`` for the rules that adapt the step size."""
