"""Training of networks: of the supernet, and of one plan's network while its gates close."""
