"""Blocks found in what a network computes, whoever wrote it."""
