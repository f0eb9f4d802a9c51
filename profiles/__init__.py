"""Latency tables and the measurements they are made of: the records, their files, and the checks on both."""
