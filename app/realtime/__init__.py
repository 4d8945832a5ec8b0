"""The transport of the sockets, the hub of a worker's sockets, and the bus between workers. Knows no messages."""
