// What pages do for those who run scripts; all of it works without, but for signing in.
//
// The token is kept in this tab only, and sent as a header: pages that need one are fetched with it, and put in place of
// what was shown.
"use strict";
(() => {
  const KEY = "quayside.token";
  const EVERY = 2000;
  const stored = () => {
    try { return sessionStorage.getItem(KEY); } catch { return null; }
  };
  const keep = (token) => {
    try {
      if (token) sessionStorage.setItem(KEY, token);
      else sessionStorage.removeItem(KEY);
    } catch { /* This browser keeps nothing. */ }
  };
  const main = () => document.getElementById("main");

  function request(url, options = {}) {
    const headers = new Headers(options.headers);
    if (!headers.has("accept")) headers.set("accept", "text/html");
    const token = stored();
    // The token is for this service only.
    if (token && new URL(url, location.href).origin === location.origin) headers.set("authorization", `Bearer ${token}`);
    return fetch(url, { ...options, headers, credentials: "same-origin", cache: "no-store" });
  }

  // One of ours: what a container printed may be HTML, too.
  const isPage = (answer) => answer.headers.has("quayside-page");

  // Puts the content of another page in place of this one's.
  async function show(answer) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("main");
    if (!next) return;
    document.title = page.title;
    main().replaceChildren(...document.adoptNode(next).childNodes);
    prepare();
    const wrong = document.getElementById("errors");
    (wrong || main()).focus();
    if (!wrong) scrollTo(0, 0);
  }

  function tell(form, text) {
    let place = form.querySelector(":scope > .alert");
    if (!place) {
      place = document.createElement("p");
      place.className = "alert";
      place.setAttribute("role", "alert");
      form.prepend(place);
    }
    place.textContent = text;
  }

  // A running job's page.
  let timer = 0;
  function watch() {
    clearTimeout(timer);
    const live = document.querySelector("[data-live=running]");
    if (live) timer = setTimeout(() => refresh(location.href), EVERY);
  }

  async function refresh(url) {
    try {
      const answer = document.hidden ? null : await request(url);
      if (answer && isPage(answer) && url === location.href) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (answer.ok) {
          replace(page, "live");
          replace(page, "live-links");
          document.title = page.title;
        } else if (answer.status === 404 || answer.status === 401 || answer.status === 403) {
          main().replaceChildren(...document.adoptNode(page.getElementById("main")).childNodes);
          prepare();
        }
      }
    } catch { /* It is away for a moment. */ }
    watch();
  }

  // Only what has changed is replaced, and what had the focus has it again.
  function replace(page, id) {
    const [old, next] = [document.getElementById(id), page.getElementById(id)];
    if (!old || !next || old.innerHTML === next.innerHTML) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...next.childNodes);
    old.dataset.live = next.dataset.live || "";
    if (focused) {
      const again = [...old.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
      (again || main()).focus({ preventScroll: true });
    }
  }

  // Signing in and out.
  function account() {
    const link = document.querySelector("[data-account]");
    if (!link) return;
    const isIn = Boolean(stored());
    if (!link.dataset.href) link.dataset.href = link.getAttribute("href");
    link.textContent = isIn ? "Sign out" : "Sign in";
    if (isIn) link.setAttribute("role", "button");
    else link.removeAttribute("role");
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("[data-account]");
    if (link && stored()) {
      event.preventDefault();
      keep(null);
      location.reload();
    }
  });

  // Where to go on after signing in: only to pages of ours.
  function onward() {
    try {
      const before = new URL(document.referrer);
      if (before.origin === location.origin && !before.pathname.endsWith("/signin")) return before.href;
    } catch { /* There is nothing before. */ }
    return document.querySelector(".brand").href;
  }

  function signIn(form) {
    if (form.dataset.ready) return;
    form.dataset.ready = "1";
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const field = form.querySelector("input");
      const token = field.value.trim();
      if (!token) return;
      keep(token);
      account();
      if (form.dataset.signIn) {
        const answer = await request(location.href);
        if (answer.status === 403 || answer.status === 401) keep(null);
        if (isPage(answer)) await show(answer);
        else if (answer.ok) await save(answer, location.pathname.split("/").pop());
      } else {
        location.assign(onward());
      }
    });
  }

  // Signing in with the organisation: an authorization code, proved by S256 (RFC 7636), for which the issuer gives a token.
  const PENDING = "quayside.sign-in";
  const random = () => encode(crypto.getRandomValues(new Uint8Array(32)));
  const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const decode = (text) => {
    const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return new TextDecoder().decode(Uint8Array.from(binary, (letter) => letter.charCodeAt(0)));
  };

  async function discovery(issuer) {
    const answer = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, { credentials: "omit" });
    const told = await answer.json();
    if (told.issuer !== issuer) throw new Error("it calls itself otherwise");
    return told;
  }

  async function leave(button) {
    if (!crypto.subtle) throw new Error("this browser proves nothing to it where the connection is not encrypted");
    const { issuer, client, back } = button.dataset;
    const { authorization_endpoint: endpoint } = await discovery(issuer);
    const pending = { state: random(), nonce: random(), verifier: random(), next: onward() };
    sessionStorage.setItem(PENDING, JSON.stringify(pending));
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier)));
    const url = new URL(endpoint);
    const asked = {
      response_type: "code", client_id: client, redirect_uri: back, scope: "openid", state: pending.state,
      nonce: pending.nonce, code_challenge: encode(digest), code_challenge_method: "S256",
    };
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value);
    location.assign(url);
  }

  // Back from the issuer. Whatever comes is good for one try only.
  async function arrive(button, answered) {
    const pending = JSON.parse(sessionStorage.getItem(PENDING) || "null");
    sessionStorage.removeItem(PENDING);
    history.replaceState(null, "", location.pathname);
    const { issuer, client, back } = button.dataset;
    if (!pending || answered.get("state") !== pending.state) throw new Error("this is not the answer to a question of this tab");
    if (answered.has("iss") && answered.get("iss") !== issuer) throw new Error("someone else has answered");
    if (!answered.get("code")) throw new Error("it does not let you in");
    const { token_endpoint: endpoint } = await discovery(issuer);
    const body = new URLSearchParams({
      grant_type: "authorization_code", client_id: client, redirect_uri: back, code: answered.get("code"),
      code_verifier: pending.verifier,
    });
    const answer = await fetch(endpoint, { method: "POST", body, credentials: "omit" });
    const tokens = await answer.json();
    if (!answer.ok || !tokens.access_token || !tokens.id_token) throw new Error("it gives no token");
    // It comes from the issuer itself: its claims are held against what was asked for, its signature says no more.
    const claims = JSON.parse(decode(tokens.id_token.split(".")[1]));
    const audience = [].concat(claims.aud);
    if (claims.iss !== issuer || !audience.includes(client) || claims.nonce !== pending.nonce) {
      throw new Error("the token is for someone else");
    }
    keep(tokens.access_token);
    location.replace(pending.next);
  }

  function issuer() {
    const button = document.querySelector("button[data-issuer]");
    if (!button) return;
    button.hidden = false;
    const attempt = async (way) => {
      button.setAttribute("aria-busy", "true");
      try {
        await way();
      } catch (error) {
        const place = document.getElementById("sign-in-error");
        place.hidden = false;
        place.textContent = `Signing in did not work: ${error.message}. Try again.`;
        button.removeAttribute("aria-busy");
      }
    };
    button.addEventListener("click", () => attempt(() => leave(button)));
    const answered = new URLSearchParams(location.search);
    if (answered.has("code") || answered.has("error")) attempt(() => arrive(button, answered));
  }

  // A page that was refused to a plain link, to who has a token.
  async function retry() {
    const form = document.querySelector("form[data-sign-in]");
    if (!form || !form.dataset.signIn || !stored()) return;
    main().setAttribute("aria-busy", "true");
    try {
      const answer = await request(location.href);
      if (isPage(answer)) {
        if (answer.status === 403 || answer.status === 401) keep(null);
        await show(answer);
      } else if (answer.ok) {
        await save(answer, location.pathname.split("/").pop());
      }
    } finally {
      main().removeAttribute("aria-busy");
      account();
    }
  }

  // Downloads and pictures that need the token.
  async function save(answer, name) {
    const disposition = answer.headers.get("content-disposition") || "";
    const told = /filename="([^"]*)"/.exec(disposition);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = told ? told[1] : name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  document.addEventListener("click", async (event) => {
    const link = event.target.closest && event.target.closest("a[data-fetch]");
    if (!link || !stored()) return;
    event.preventDefault();
    const answer = await request(link.href, { headers: { accept: "*/*" } });
    if (answer.ok) await save(answer, "output");
    else location.assign(link.href);
  });

  function pictures() {
    if (!stored()) return;
    for (const picture of document.querySelectorAll("img[data-fetch]")) {
      const url = picture.src;
      delete picture.dataset.fetch;
      request(url, { headers: { accept: "image/*" } })
        .then((answer) => (answer.ok ? answer.blob() : null))
        .then((blob) => { if (blob) picture.src = URL.createObjectURL(blob); })
        .catch(() => {});
    }
  }

  // Forms.
  function forms() {
    for (const place of document.querySelectorAll("[data-token]")) {
      place.hidden = Boolean(stored());
      for (const field of place.querySelectorAll("input")) field.disabled = place.hidden;
    }
    for (const place of document.querySelectorAll("[data-file][hidden]")) file(place);
    for (const field of document.querySelectorAll("textarea[data-json]")) {
      field.addEventListener("change", () => field.setCustomValidity(mistake(field)));
    }
    document.querySelectorAll("form[data-sign-in]").forEach(signIn);
  }

  // Only what can be nothing but JSON is checked here.
  function mistake(field) {
    if (!/^\s*[{[]/.test(field.value)) return "";
    try {
      JSON.parse(field.value);
      return "";
    } catch (error) {
      return `This is not JSON: ${error.message}`;
    }
  }

  function file(place) {
    place.hidden = false;
    const area = document.getElementById(place.dataset.file);
    const input = place.querySelector("input");
    input.addEventListener("change", () => {
      const chosen = input.files[0];
      if (!chosen) return;
      const limit = Number(area.form.dataset.limit || 0) * 0.7;
      input.setCustomValidity(chosen.size > limit ? "This file is larger than an execution may be: give a link to it." : "");
      if (!input.reportValidity()) return;
      const reader = new FileReader();
      reader.addEventListener("load", () => { area.value = String(reader.result).replace(/^[^,]*,/, ""); });
      reader.readAsDataURL(chosen);
    });
  }

  document.addEventListener("click", (event) => {
    const more = event.target.closest && event.target.closest("[data-more]");
    if (!more) return;
    event.preventDefault();
    const rows = more.parentElement.querySelector("[data-rows]");
    const row = rows.lastElementChild.cloneNode(true);
    const field = row.querySelector("input, select");
    field.value = "";
    field.removeAttribute("id");
    field.setAttribute("aria-label", field.getAttribute("aria-label").replace(/\d+$/, String(rows.children.length + 1)));
    rows.append(row);
    field.focus();
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (event.defaultPrevented || !form.matches("form[data-signed]")) return;
    const button = form.querySelector("button[type=submit]:not([data-more])");
    if (button.getAttribute("aria-busy") === "true") {
      event.preventDefault();
      return;
    }
    button.setAttribute("aria-busy", "true");
    if (!stored()) return;
    event.preventDefault();
    try {
      const answer = await request(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (answer.redirected && answer.ok) location.assign(answer.url);
      else if (isPage(answer)) await show(answer);
      else tell(form, "It could not be sent: try again.");
    } catch {
      tell(form, "The service can't be reached: try again.");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });

  // Back to a page as it was left: its button is no longer busy.
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
  });

  function prepare() {
    account();
    forms();
    pictures();
    watch();
  }

  prepare();
  issuer();
  retry();
})();
