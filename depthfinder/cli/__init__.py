"""The command line: its commands, their flags, and the texts that they print."""
