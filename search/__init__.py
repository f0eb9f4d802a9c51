"""Which plan to choose under a latency budget."""
