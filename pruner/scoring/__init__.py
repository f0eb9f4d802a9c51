"""Scores of plans: many plans of one supernet are evaluated together, with or without labels."""
