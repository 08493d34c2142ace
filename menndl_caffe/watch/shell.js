"use strict";
// Keeps the report in the frame new: by itself while nobody works with it, else when the button is pressed.

const POLL = 5000;  // milliseconds between two questions for new results
const IDLE = 30000;  // after the pointer has rested so long, the report may change by itself
const REPORT = "/report/report.html";

const bar = document.querySelector("p"), text = document.querySelector("span");
const button = document.querySelector("button"), frame = document.querySelector("iframe");
let shown = null;  // results in the report that is shown, which ends in a comment that says how many
let worked = false;  // something in it was clicked, brushed or typed, which a new one would forget
let moved = 0;  // when the pointer was last moved over it

function showsReport() {
  return frame.contentWindow.location.pathname === REPORT;
}

function watchFrame() {
  const inner = frame.contentWindow;
  document.title = inner.document.title || document.title;
  for (const kind of ["pointerdown", "keydown"]) inner.addEventListener(kind, () => { worked = true; });
  inner.addEventListener("hashchange", keepAddress);
  for (const kind of ["pointermove", "wheel"]) inner.addEventListener(kind, () => { moved = Date.now(); }, {passive: true});
  if (showsReport()) {
    const last = inner.document.lastChild;
    shown = last.nodeType === Node.COMMENT_NODE ? Number(last.data) : null;
  }
  worked = false;
}

// What is brushed and shown in the report is in its address; this page's own says the same, so that it is a link to it.
function keepAddress() {
  history.replaceState(null, "", frame.contentWindow.location.hash || "#");
}

function renew() {
  const inner = frame.contentWindow;
  shown = null;  // until the new one is there
  bar.hidden = true;
  if (showsReport()) inner.location.reload();  // where it was scrolled to, browsers keep
  else inner.location.replace(REPORT);
}

function say(message, withButton) {
  text.textContent = message;
  button.hidden = !withButton;
  bar.hidden = false;
}

async function poll() {
  try {
    const answer = await fetch("/status.json");
    if (!answer.ok) throw new Error(answer.statusText);
    const {results} = await answer.json();
    const more = shown === null ? 0 : results - shown;
    if (more === 0) bar.hidden = true;
    else if (!worked && showsReport() && Date.now() - moved > IDLE && !document.hidden) renew();
    else say(more === 1 ? "1 new result" : `${more.toLocaleString("en")} new results`, true);
  } catch {
    say("This report is not being served any more; what you see stays as it is.", false);
  }
}

button.addEventListener("click", renew);
if (location.hash) frame.src = REPORT + location.hash;
window.addEventListener("hashchange", () => { frame.contentWindow.location.hash = location.hash; });
frame.addEventListener("load", watchFrame);
if (showsReport() && frame.contentDocument.readyState === "complete") watchFrame();  // it came before this script
setInterval(poll, POLL);
poll();
