"""What can be wrong with a profile."""


class ProfileError(ValueError):
    """A profile that cannot be read or must not be used here."""
