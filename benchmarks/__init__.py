"""Benchmarks: ours, the peers and the floor, against one local server; see README.md."""
