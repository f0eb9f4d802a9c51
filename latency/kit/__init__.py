"""Kits: what is to be measured, packed to be carried to a device that cannot be reached, and its readings brought back.

A kit holds graphs without weights (their values do not change what a network takes, and they are nobody else's
business), and the very code that times programs here. Files that travel import nothing but each other, the standard
library, and torch, or onnxruntime with its numpy.
"""
