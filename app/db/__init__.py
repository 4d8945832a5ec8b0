"""The database: its engine, sessions, prepared statements and batched reads."""
