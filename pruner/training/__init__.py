"""Training networks: the weight-sharing one, and a plan's own while its gates close."""
