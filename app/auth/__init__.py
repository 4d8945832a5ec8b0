"""Authentication: tokens, identities, sign-up and login at the identity provider."""
