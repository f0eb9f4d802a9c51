"""Networks by name, their weights, and files of both."""
