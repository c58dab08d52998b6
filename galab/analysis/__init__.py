"""Answers: arrays in, arrays out. The scripts in the top-level ``analysis/`` ask the questions."""
