"""Mutation operators, one subject a file."""
