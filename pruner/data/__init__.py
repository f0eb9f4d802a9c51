"""Data sets of images: the built-in digits, folders of images, and what timm's readers open."""
