"""Values that need no framework."""
