"""Bringing data sets into the layout that `data.datasets` reads: the work behind `tools.prepare_data`."""
