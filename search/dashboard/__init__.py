"""A finished search as a study that optuna-dashboard shows."""
