"""NAS-Bench-201 on the command line."""
