"""What can be wrong with a profile."""


class ProfileError(ValueError):
    """A profile that cannot be read or must not be used here."""


class FileNameError(ValueError):
    """A name under which nothing can be kept, or a link that leads out of where things are kept."""
