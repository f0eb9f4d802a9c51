"""The search for the best plan under a latency budget."""
