"""Statistics and plots: arrays in, arrays and image files out; no runs."""
