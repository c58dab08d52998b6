"""Files of a run: the folder, checkpoints, the lineage, the log and groups. Plain data in, plain data out."""
