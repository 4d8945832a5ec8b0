// /docs/socket: a WebSocket to try every frame on, and the protocol to read.

import { call, startLogin } from "/docs/login.js";

const LOG_ENTRIES = 300;
const CONVERSATIONS = 100;
const AUTH = { type: "auth", payload: { token: "{token}", v: 2, cursors: {} } };
const $ = (selector) => document.querySelector(selector);

let token = null;
let socket = null;
let messages = 0;

// --- The log: everything in it is text, never markup -----------------------------------------------------------------

function note(direction, text) {
  const entry = document.createElement("li");
  entry.className = { "→": "sent", "←": "received" }[direction] ?? "event";
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  const body = document.createElement("pre");
  body.textContent = text;
  entry.append(`${direction} `, time, body);
  $("#log").prepend(entry);
  while ($("#log").childElementCount > LOG_ENTRIES) $("#log").lastElementChild.remove();
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// --- The socket ------------------------------------------------------------------------------------------------------

function send(text) {
  socket.send(text.replaceAll("{token}", token));
  note("→", text);
}

function connect() {
  const opening = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/ws`);
  let wasOpen = false;
  socket = opening;
  show("Connecting…");
  opening.addEventListener("open", () => {
    wasOpen = true;
    show("Connected.");
    send(JSON.stringify(AUTH, null, 2));
  });
  opening.addEventListener("message", (event) => note("←", readable(event.data)));
  opening.addEventListener("close", (event) => {
    note("•", `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`);
    if (socket !== opening) return;
    socket = null;
    show(wasOpen ? `Closed with ${event.code}; see “Ends” below.` : refusal());
  });
}

function refusal() {
  return `Refused before it was open. If the service answers otherwise, CORS_ALLOWED_ORIGINS lacks ${location.origin}.`;
}

function disconnect() {
  const closing = socket;
  socket = null;
  closing?.close(1000);
  show("Not connected.");
}

function show(state) {
  $("#state").textContent = state;
  $("#connect").textContent = socket ? "Disconnect" : "Connect";
  $("#connect").disabled = !token;
  $("#send").disabled = socket?.readyState !== WebSocket.OPEN;
}

// --- Conversations and frames to choose from -------------------------------------------------------------------------

let chosen = null;

function fillIn() {
  if (!chosen) return;
  const conversation = $("#conversation").value || "{conversation_id}";
  const text = JSON.stringify(chosen.frame, null, 2);
  messages += 1;
  $("#frame").value = text.replace("{conversation_id}", conversation).replace("{new_id}", `try-${Date.now()}-${messages}`);
  $("#about").textContent = chosen.about;
}

function choose(each, button) {
  chosen = each;
  for (const other of $("#frames").children) other.setAttribute("aria-pressed", String(other === button));
  fillIn();
}

async function showFrames() {
  for (const each of await call("GET", "/docs/frames.json")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = each.name;
    button.addEventListener("click", () => choose(each, button));
    $("#frames").append(button);
  }
  $("#frames").firstElementChild.click();
}

async function showConversations(mine = token) {
  const found = await call("GET", `/api/v1/conversations?limit=${CONVERSATIONS}`, { token: mine });
  if (mine !== token) return; // somebody else has logged in meanwhile
  const options = found.map(({ id, participants, last_seq }) => {
    const names = participants.map((each) => each.username).join(", ");
    return new Option(`${names}: ${last_seq} messages`, id);
  });
  $("#conversation").replaceChildren(...(options.length ? options : [new Option("none yet: begin one", "")]));
  $("#conversation").disabled = !options.length;
  $("#begin").disabled = false;
  fillIn();
}

async function begin() {
  $("#begin").disabled = true;
  try {
    const me = await call("GET", "/api/v1/auth/me", { token });
    const { items } = await call("GET", "/api/v1/equipment?limit=100");
    const listing = items.find((each) => each.owner_id !== me.id);
    if (!listing) throw new Error("There is no listing of somebody else's.");
    const begun = await call("POST", "/api/v1/conversations", { token, body: { equipment_id: listing.id } });
    await showConversations();
    $("#conversation").value = begun.id;
    fillIn();
  } catch (error) {
    note("•", error.message);
  } finally {
    $("#begin").disabled = !token;
  }
}

// --- The page --------------------------------------------------------------------------------------------------------

$("#connect").addEventListener("click", () => (socket ? disconnect() : connect()));
$("#send").addEventListener("click", () => send($("#frame").value));
$("#clear").addEventListener("click", () => $("#log").replaceChildren());
$("#conversation").addEventListener("change", fillIn);
$("#begin").addEventListener("click", begin);

startLogin({
  loggedIn: (fresh) => {
    disconnect(); // a socket is its user's to its end
    token = fresh;
    show("Not connected.");
    showConversations().catch((error) => note("•", error.message));
  },
  loggedOut: () => {
    token = null;
    disconnect();
    $("#conversation").replaceChildren(new Option("log in first", ""));
    $("#conversation").disabled = $("#begin").disabled = true;
  },
});

showFrames().catch((error) => note("•", error.message));

// Swagger UI renders Markdown, and washes it, for descriptions: the protocol is one.
const protocol = await fetch("/docs/protocol.md");
window.SwaggerUIBundle({
  spec: { openapi: "3.1.0", info: { title: "", version: "", description: await protocol.text() }, paths: {} },
  dom_id: "#protocol",
  layout: "InfoContainer",
});
