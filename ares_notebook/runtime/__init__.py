"""Run work from anywhere: loop, jobs, threads, signals, progress."""
