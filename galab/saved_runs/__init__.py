"""A saved run: open, verify, replay, export."""
