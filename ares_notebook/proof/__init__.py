"""What the cache can prove: checks, reconciliation, fingerprints, audit."""
