"""What is asked of runs: the frame of a question script, and the analyses of a single run."""
