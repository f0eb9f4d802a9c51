"""What can be said of a block's importance without training: one file per criterion, its paper named."""
