"""Look back: validation, reconciliation, fingerprints, audits."""
