"""What the command line can do, verb by verb."""
