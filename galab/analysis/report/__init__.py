"""Comparisons of runs, and reports of a run or a group as one HTML file."""
