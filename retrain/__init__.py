"""One network from scratch, or from a supernet's weights."""
