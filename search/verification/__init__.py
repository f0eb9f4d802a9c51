"""Budgets, and whether what was found keeps them: measured beside the baseline."""
