"""What is on disk; knows no network."""
