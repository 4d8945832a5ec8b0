"""Open sockets: one of them, all that this worker has, and the wake-ups between workers. Knows no message."""
