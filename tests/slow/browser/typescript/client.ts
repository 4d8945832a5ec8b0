// What a web developer writes first, against the types that openapi-typescript made of /openapi.json. The last line it
// prints is JSON, for whoever runs it: SERVICE, EMAIL and PASSWORD say where, and as which owner.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

type ApiError = components["schemas"]["Error"];

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

/** The answer, or an exception that tells the API's code. */
function must<Data>(answer: { data?: Data; error?: ApiError }): Data {
  if (answer.error !== undefined) throw new Error(`${answer.error.code}: ${answer.error.message}`);
  if (answer.data === undefined) throw new Error("neither data nor an error");
  return answer.data;
}

/** What a person is told: decided by the code, not by the text, which may change. */
function explain(error: ApiError): string {
  switch (error.code) {
    case "VALIDATION_ERROR":
      return (error.details ?? []).map((detail) => detail.field).join(" ");
    case "FORBIDDEN":
      return "not yours";
    default:
      return error.title;
  }
}

const api = createClient<paths>({ baseUrl: setting("SERVICE") });

const tokens = must(
  await api.POST("/api/v1/auth/auth0/login", { body: { email: setting("EMAIL"), password: setting("PASSWORD") } }),
);
api.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
    return request;
  },
});

const me = must(await api.GET("/api/v1/auth/me"));
const email: string = me.email ?? "";

const categories = must(await api.GET("/api/v1/categories"));
const category = categories[0];
if (category === undefined) throw new Error("no categories");

const listing = {
  category_id: category.id,
  title: "Sea kayak, 5.2 m",
  description: "With paddle, spray skirt and two dry bags.",
  daily_rate: "38.50",
  condition: "good" as const,
  location: "Lyttelton, New Zealand",
  coordinates: { latitude: -43.603, longitude: 172.719 },
};
const created = must(await api.POST("/api/v1/equipment", { body: listing }));
const rate: string = created.daily_rate; // money is a decimal string, never a float

const found = must(
  await api.GET("/api/v1/equipment", {
    params: { query: { q: "kayak", lat: -43.6, lng: 172.72, radius_km: 1, sort: "distance", limit: 5 } },
  }),
);
// The search is also given as GeoJSON, to who asks for that in Accept; this client does not.
if (!("items" in found)) throw new Error("GeoJSON was not asked for");
const nearest = found.items[0];
const latitude: number | undefined = nearest?.coordinates?.latitude;
const distance: number | undefined = nearest?.distance_km ?? undefined;

const refused = await api.POST("/api/v1/equipment", { body: { ...listing, title: "?" } });
if (refused.error === undefined) throw new Error("a title of one character was taken");

const missing = await api.GET("/api/v1/equipment/{equipment_id}", {
  params: { path: { equipment_id: "00000000-0000-4000-8000-000000000000" } },
});

console.log(
  JSON.stringify({
    email,
    role: me.role,
    created: created.id,
    rate,
    nearest: nearest?.id,
    latitude,
    isNear: distance !== undefined && distance < 1,
    total: found.total,
    refused: refused.error.code,
    explained: explain(refused.error),
    missing: missing.error?.code,
    missingStatus: missing.response.status,
  }),
);
