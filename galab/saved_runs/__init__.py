"""What can be done with a saved run: verify it, replay it, take it apart, export from it."""
