"""Benchmarks as tables: import, store, query, behind the official packages' interfaces."""
