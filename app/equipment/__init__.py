"""Listings: their search, categories and photos."""
