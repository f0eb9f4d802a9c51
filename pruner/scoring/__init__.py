"""What plans are worth: many of one weight-sharing network, evaluated together."""
