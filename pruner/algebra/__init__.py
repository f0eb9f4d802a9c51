"""Exact algebra: the steps of a block, the affine maps that they are, and modules made of these."""
