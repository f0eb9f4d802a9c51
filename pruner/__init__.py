"""What a network is made of, and how it is cut, trained and merged."""
