"""Statistics and plots: arrays in, arrays and image files out; they know nothing of runs."""
