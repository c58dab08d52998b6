"""What can be learned from saved runs: analyses, the frame of question scripts, comparisons and reports."""
