"""The choices for a block, what each makes of it, and the plans that combine them."""
