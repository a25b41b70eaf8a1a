"""Quality of what was downloaded: validation, reconciliation, fingerprints, audits."""
