"""Labelled images: built in, and in folders."""
