"""The HTTP edge that every slice shares."""
