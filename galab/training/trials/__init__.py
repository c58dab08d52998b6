"""Many runs: seeds, sweeps, processes."""
