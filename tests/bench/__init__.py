"""Benchmarks: `make bench`. Speeds are printed with their spread, and never asserted."""
