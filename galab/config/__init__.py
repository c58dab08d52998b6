"""Hyperparameters: their declarations, the rules among them, and the registries of names."""
