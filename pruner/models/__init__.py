"""Networks by name, their weights, and the files that hold weights and training states."""
