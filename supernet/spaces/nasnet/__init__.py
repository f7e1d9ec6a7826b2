"""NASNet's cells: what they are, what they cost, and the space of all of them."""
