"""The frame of a question script: a question, its trials, its answer and the files of that."""
