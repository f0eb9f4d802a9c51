"""What people look at: pictures, tables and pages of what a run came to."""
