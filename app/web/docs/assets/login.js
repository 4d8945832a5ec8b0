// Logging in at the API itself. The token stays in this page's memory: it is never stored, and never in a URL.

const ANSWER_MILLISECONDS = 15_000;
const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;

// Swagger UI has colours for the night, too, and wants to be told.
const night = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark-mode", night.matches);
night.addEventListener("change", colour);
colour();

/** Call the API: the answer's body. Throws an Error with a sentence for the person at the page. */
export async function call(method, path, { token, body } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    const signal = AbortSignal.timeout(ANSWER_MILLISECONDS);
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(sentence(answer, said));
  return said;
}

function sentence(answer, said) {
  const message = said?.details?.map((each) => `${each.field}: ${each.message}`).join(" ") || said?.message || `Status ${answer.status}.`;
  const seconds = answer.headers.get("Retry-After");
  return seconds ? `${message} Try again in ${seconds} s.` : message;
}

function span(milliseconds) {
  const minutes = Math.round(milliseconds / 60_000);
  return minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
}

/**
 * Make the bar work. `loggedIn(token)` is called with each new token, `loggedOut()` when there is none any more:
 * by the button, or as the token has ended.
 */
export function startLogin({ loggedIn, loggedOut }) {
  const section = document.querySelector("#login");
  const form = document.querySelector("#login-form");
  const logout = document.querySelector("#logout");
  const who = document.querySelector("#who");
  let timer;

  // textContent throughout: what people and services say is text, never markup.
  const say = (text, mood) => {
    who.textContent = text;
    section.dataset.mood = mood;
  };
  const leave = (text) => {
    clearTimeout(timer);
    logout.hidden = true;
    say(text, "out");
    loggedOut();
  };
  const enter = async (email, password) => {
    say("Logging in…", "busy");
    const tokens = await call("POST", "/api/v1/auth/auth0/login", { body: { email, password } });
    const me = await call("GET", "/api/v1/auth/me", { token: tokens.access_token });
    clearTimeout(timer);
    const lifetime = Math.min(tokens.expires_in * 1000, LONGEST_TIMER_MILLISECONDS);
    timer = setTimeout(() => leave("Your token has ended: log in again."), lifetime);
    say(`You are ${me.username} (${me.role}), ${me.email ?? email}. Calls carry your token, good for ${span(lifetime)}.`, "in");
    logout.hidden = false;
    loggedIn(tokens.access_token);
  };
  const attempt = async (email, password) => {
    const buttons = section.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    try {
      await enter(email, password);
      form.reset();
    } catch (error) {
      const still = logout.hidden ? "" : " You are still logged in as before.";
      say(`That did not work. ${error.message}${still}`, "failed");
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  };

  for (const button of section.querySelectorAll(".demo")) {
    button.addEventListener("click", () => attempt(button.dataset.email, button.dataset.password));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = new FormData(form);
    attempt(given.get("email"), given.get("password"));
  });
  logout.addEventListener("click", () => leave("You are not logged in."));
}
