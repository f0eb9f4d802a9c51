"""Learned gates: a network learns which choice each block takes, together with its weights, under a latency budget."""
