"""A chat client for a terminal. Of the service it knows what PROTOCOL.md says, and nothing of its inside."""
