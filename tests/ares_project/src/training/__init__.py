"""Part of a made-up project that uses this package as the Ares pipeline does."""
