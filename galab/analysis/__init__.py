"""Answers to the laboratory's questions: arrays in, arrays out."""
