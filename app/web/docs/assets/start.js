// /docs: Swagger UI, and the bar above it that logs in for it.

import { startLogin } from "/docs/login.js";

const BEARER = "bearer"; // the security scheme's name in openapi.json

const described = new Promise((resolve) => {
  const ui = window.SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    validatorUrl: null,
    onComplete: () => resolve(ui),
  });
});

startLogin({
  loggedIn: async (token) => (await described).preauthorizeApiKey(BEARER, token),
  loggedOut: async () => (await described).authActions.logout([BEARER]),
});
