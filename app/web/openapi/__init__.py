"""The API's description (OpenAPI 3.1), at `/openapi.json`.

flask-smorest describes each route. `document` adds what follows from a route's method and marks, for every route in one
place: security, conditional headers, errors, response headers. The JSON files hold the rest: `base.json` the paths
outside the API, the request headers and the shared components, `errors.json` one body for each error code,
`examples.json` one value for each schema and parameter.
"""
