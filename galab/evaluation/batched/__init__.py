"""One forward pass for all members of a generation."""
