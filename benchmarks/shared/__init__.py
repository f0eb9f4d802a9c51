"""What several benchmarks share: the networks they cut, what trains and searches, and the tables they leave."""
