"""Masks that are learned with the weights: the SMART pruner's soft top-k, and gates that meet a latency exactly."""
