"""Directions in which an evolution strategy perturbs its centre: what they are made of, their noise, their law."""
