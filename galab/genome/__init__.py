"""What an individual is: births, exact random numbers, fixed-point weights, and the decoding of a lineage into them."""
