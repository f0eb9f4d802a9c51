"""Studies: where they are kept, and each plan in them evaluated once."""
