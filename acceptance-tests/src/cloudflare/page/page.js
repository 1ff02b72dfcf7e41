// Replaces what has changed on the page once a second, with what the server renders. Shows times as the reader's own.
"use strict";

const connection = document.getElementById("connection");
const sections = [...document.querySelectorAll("[data-live]")];
const shown = new Map(sections.map((section) => [section.id, section.innerHTML]));
let answered = new Date();
let asking = false;

function ownTimes(section) {
  for (const element of section.querySelectorAll("time")) {
    const time = new Date(element.dateTime);
    if (Number.isNaN(time.getTime())) continue;
    const today = time.toDateString() === new Date().toDateString();
    element.textContent = today ? time.toLocaleTimeString() : time.toLocaleString();
  }
}

async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const response = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const section of sections) {
      const next = page.getElementById(section.id);
      // What has not changed stays, and with it what the reader has selected.
      if (!next || next.innerHTML === shown.get(section.id)) continue;
      shown.set(section.id, next.innerHTML);
      section.replaceChildren(...next.childNodes);
      ownTimes(section);
    }
    answered = new Date();
    say("live", "Live");
  } catch {
    say("lost", `Local Cloudflare does not answer. This is how it was at ${answered.toLocaleTimeString()}.`);
  } finally {
    asking = false;
  }
}

// Said once, or a screen reader would repeat it every second.
function say(state, text) {
  if (connection.dataset.state === state) return;
  connection.dataset.state = state;
  connection.textContent = text;
}

sections.forEach(ownTimes);
say("live", "Live");
setInterval(refresh, 1000);
document.addEventListener("visibilitychange", refresh);
