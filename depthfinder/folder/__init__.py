"""What lies in the folder of a run: its files, what they say, and what it lacks for a command."""
