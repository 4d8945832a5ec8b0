"""What admins do to users."""
