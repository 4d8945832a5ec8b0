"""What admins see and do: users, listings, categories, and the log of it all."""
