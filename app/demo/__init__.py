"""Demo data: believable listings in any number."""
