"""An Auth0-compatible tenant on loopback, for development and tests.

``python -m deploy.local.tenant --port 8081 --state DIR`` runs it. The product never imports this package and this
package never imports the product: they meet over HTTP only, as with a real tenant, so that going live changes settings
and no code. Paths, bodies and error shapes follow Auth0's "Authentication API" reference; where Auth0 documents no
shape, the docstring of the function says what was chosen.

What a real tenant does and this one does not: no consent page, no multi-factor, no brute-force lock (ask for it with
``/_control/fault``), no Actions, one client, one API, one database connection.
"""
