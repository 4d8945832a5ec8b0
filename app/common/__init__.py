"""Values that need no web framework, and audit entries."""
