"""Decide what is to be done with each cache file, and do it."""
