"""Kits measure a network on a machine without Depthfinder, whose readings are then imported.

A kit holds graphs without weights, which are private and do not change the latency, and the same code that times
programs here. Files that are packed into kits import only each other, the standard library, and torch, or onnxruntime
with numpy.
"""
