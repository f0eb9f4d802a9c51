"""The folder of a run: its files, what they say, and what is missing for a command."""
