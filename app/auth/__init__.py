"""Who is calling: tokens, identities, sign-up and login at the tenant."""
