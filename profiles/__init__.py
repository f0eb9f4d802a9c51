"""Measured truth: the records, the files, and what guards them."""
