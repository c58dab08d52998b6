"""What lies on disk: run folders, checkpoints, the lineage file and the log. Plain data in, plain data out."""
