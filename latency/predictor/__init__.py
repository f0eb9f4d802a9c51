"""Predicts latencies that were not measured, by regressions over operators and over pieces of networks."""
