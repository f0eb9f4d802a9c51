"""What may become of a block, and what each choice makes of it."""
