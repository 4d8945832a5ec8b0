"""The API's description (OpenAPI 3.1): what flask-smorest says of each route, and what follows from how it is made.

Whatever holds for every route of a kind is derived in `document`, once, so that no route can forget it: whether it
needs a token, which conditions it takes, which errors it can give, which headers it sends. `answers` holds what is
shared, `examples` one true value of everything, `system` the few paths that are no part of the API proper.
"""
