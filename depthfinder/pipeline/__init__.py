"""A run: its stages in their order, what each of them does, and what of it is kept."""
