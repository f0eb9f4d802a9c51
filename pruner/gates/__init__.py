"""Learned gates: every choice of a network under one latency budget, trained with its weights."""
