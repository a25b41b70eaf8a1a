"""Figures of the cache."""
