"""NAS-Bench-101 on the command line."""
