"""One run: what it is opened from and continued from."""
