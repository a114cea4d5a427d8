// The live preview, the shutter by key and by button, and nothing else: every page works without this file.
"use strict";

const STALE = 3000; // ms without a new picture, after which the one that is shown is taken away
const TIP_STAYS = 1200; // ms that a tip is left for reading

// A name for this tab, the same on all of its pages.
function tab() {
  return (sessionStorage.tab ??= Math.random().toString(36).slice(2));
}

function warn(text) {
  const said = document.createElement("p");
  said.textContent = text;
  said.className = "warning";
  document.querySelector("#problem").replaceChildren(said);
  said.scrollIntoView({ block: "nearest" }); // the button may be far below
}

function openEye(section) {
  if (section.dataset.running) return;
  section.dataset.running = "yes";
  const find = (selector) => section.querySelector(selector);
  const canvas = find("canvas"), context = canvas.getContext("2d");
  const ring = find(".ring"), tip = find("[data-tip]"), meter = find("meter"), word = find("[data-error]");
  const waiting = find("[data-waiting]"), shutter = find("[data-shutter-button]");
  const advice = tip?.textContent; // while nothing better is known
  let after = 0, presses = null, shown = performance.now(), tipSince = -TIP_STAYS;

  function ringAt(state, width, height) {
    const side = Math.min(width, height), [targets, found] = [ring.querySelectorAll(".target, .target-casing"), ring.querySelector(".found")];
    ring.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const circle of targets) {
      circle.setAttribute("cx", width / 2);
      circle.setAttribute("cy", height / 2);
      circle.setAttribute("r", 0.46 * side);
    }
    const known = state.centre && state.radius && !state.ready;
    found.setAttribute("cx", known ? state.centre[0] * width : 0);
    found.setAttribute("cy", known ? state.centre[1] * height : 0);
    found.setAttribute("r", known ? state.radius * side : 0);
  }

  function coach(state) {
    section.classList.toggle("ready", state.ready);
    if (meter) meter.value = state.focus ?? 0;
    const text = state.ready ? tip?.dataset.ready : state.tip || advice, now = performance.now();
    if (tip && text && tip.textContent !== text && now - tipSince > TIP_STAYS) {
      tip.textContent = text;
      tipSince = now;
    }
  }

  function unready() {
    section.classList.remove("ready");
    if (tip) tip.textContent = advice;
  }

  function fail(text) {
    if (text) unready();
    section.classList.toggle("lost", Boolean(text));
    word.textContent = text;
    word.hidden = !text;
    if (text && waiting) waiting.hidden = true;
  }

  // The button photographs the eye of this page, unless another page is open, too: then it may mean the other one.
  function pressed(alone) {
    if (!shutter || shutter.disabled) return;
    if (alone) shutter.click();
    else warn(shutter.dataset.crowd);
  }

  async function show(answer) {
    const state = JSON.parse(answer.headers.get("x-live"));
    if (presses !== null && state.presses > presses) pressed(state.alone);
    presses = state.presses;
    fail(state.error);
    if (state.error) canvas.classList.add("stale");
    if (answer.status === 200) {
      const picture = await createImageBitmap(await answer.blob());
      canvas.width = picture.width;
      canvas.height = picture.height;
      context.drawImage(picture, 0, 0);
      if (ring) ringAt(state, picture.width, picture.height);
      picture.close();
      canvas.classList.remove("stale");
      if (waiting) waiting.hidden = true;
      section.dataset.seen = "yes";
      shown = performance.now();
      coach(state);
    }
    after = state.sequence;
  }

  async function look() {
    while (section.isConnected) {
      if (document.hidden) {
        presses = null; // what is pressed meanwhile is not meant for this page
        await new Promise((go) => setTimeout(go, 300));
        continue;
      }
      try {
        const answer = await fetch(`/live/frame?after=${after}&page=${shutter ? tab() : ""}`, { signal: AbortSignal.timeout(5000) });
        if (answer.status === 401) return location.reload(); // the instrument was restarted: the page asks for its code
        if (!answer.headers.has("x-live")) throw new Error("no preview");
        await show(answer);
      } catch {
        presses = null; // nor what was pressed while nothing was seen
        await new Promise((go) => setTimeout(go, 500));
      }
      // A picture that stands still must not be taken for the eye.
      if (performance.now() - shown > STALE && word.hidden) {
        canvas.classList.add("stale");
        unready();
        if (waiting) waiting.hidden = false;
      }
    }
  }
  look();
}

function start(root) {
  root.querySelectorAll?.("[data-live]").forEach(openEye);
}

document.addEventListener("DOMContentLoaded", () => start(document));
document.addEventListener("htmx:load", (event) => start(event.detail.elt.parentNode ?? document));

// On a small screen what has the focus is far below the answer, and a page is scrolled to it: the answer comes first.
function answerFirst(within) {
  if (within.querySelector(".result")) scrollTo(0, 0);
}
window.addEventListener("load", () => answerFirst(document));
document.addEventListener("htmx:afterSettle", (event) => answerFirst(event.target));

// Space and Enter photograph wherever the focus is, but on something that they would work themselves.
document.addEventListener("keydown", (event) => {
  if ((event.key !== " " && event.key !== "Enter") || event.repeat) return;
  if (event.target.closest("a, button, input, select, textarea, summary, label")) return;
  const shutter = document.querySelector("[data-shutter-button]");
  if (shutter && !shutter.disabled) {
    event.preventDefault();
    shutter.click();
  }
});

// A page that comes back out of the browser's memory can be used again, though its buttons were off.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

// What went wrong before is not what goes wrong now.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.matches("form")) document.querySelector("#problem")?.replaceChildren();
});
// A page that nobody sees does not look for codes: the camera would stay on.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.detail.elt.matches("[hx-trigger^=every]")) event.preventDefault();
});
document.addEventListener("htmx:afterSwap", (event) => {
  const { target, requestConfig } = event.detail;
  if (target.id !== "problem") return;
  target.scrollIntoView({ block: "nearest" });
  // A file that is corrected now must be chosen anew: browsers do not send one that was changed since.
  requestConfig.elt.querySelectorAll("input[type=file]").forEach((input) => (input.value = ""));
});
document.addEventListener("htmx:sendError", () => warn(document.querySelector("#problem").dataset.gone));
