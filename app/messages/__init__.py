"""Conversations and their messages, over REST and over WebSocket. The frames are described in PROTOCOL.md."""
