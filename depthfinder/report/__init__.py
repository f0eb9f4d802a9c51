"""Pictures, tables and pages of the results of a run."""
