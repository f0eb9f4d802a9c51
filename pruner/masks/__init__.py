"""Masks over parts of a network's weights: what they cover, the methods that find them, and how they are exported."""
