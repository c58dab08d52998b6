"""Integer networks: int8 weights and activations, int32 sums, the same bits on every machine."""
