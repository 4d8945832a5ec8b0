"""Profiles, and becoming an owner."""
