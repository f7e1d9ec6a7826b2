"""NAS-Bench-101's cells: values, pruning, hashes, costs, the list of all 423,624 and the index that finds a hash."""
