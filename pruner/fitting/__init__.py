"""Layers that replace blocks, fitted by least squares to what the blocks compute on images without labels."""
