"""Latency budgets, and the measurements that show whether a plan keeps them."""
