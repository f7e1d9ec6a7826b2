"""The cells of NAS-Bench-201: strings, the official order, costs."""
