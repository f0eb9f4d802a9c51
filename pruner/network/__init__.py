"""Networks opened, cut and merged."""
