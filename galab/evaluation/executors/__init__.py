"""What carries out the evaluation of a generation: this process, or a pool of workers."""
