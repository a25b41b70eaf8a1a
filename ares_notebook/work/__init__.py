"""From plan to report: decide, then do."""
