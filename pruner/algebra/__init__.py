"""The exact algebra of merging: the steps of a block, the affine maps they fold to, and modules made of those maps."""
