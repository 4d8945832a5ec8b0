"""Moderation: users, listings, categories and the audit log."""
