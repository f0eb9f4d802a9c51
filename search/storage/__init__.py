"""The storage of studies, in which each plan is evaluated once."""
