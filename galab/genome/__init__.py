"""What an individual is: births, exact noise, and the decoding of a lineage into weights (design: seeds for ever)."""
