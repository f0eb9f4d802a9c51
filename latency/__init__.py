"""What a block costs: devices, timing, the fit in context, and the files that are handed over."""
