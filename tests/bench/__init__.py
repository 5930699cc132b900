"""`make bench`: how fast, measured as ratios of two things run in turn in one process; see `__main__`."""
