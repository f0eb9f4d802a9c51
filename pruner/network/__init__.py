"""Opening, cutting and merging networks, and the checks and statistics that this takes."""
