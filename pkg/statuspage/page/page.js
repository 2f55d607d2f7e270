// Keeps the page up to date: each message holds elements, which replace those with the same id. Without this script
// the page reloads itself.
"use strict";
(() => {
  const link = document.getElementById("link");
  const pause = document.getElementById("pause");
  let source;

  // update gives an element the content of its successor and keeps the element, so that the target of #secret-ID and
  // the focus stay where they are.
  function update(next) {
    const old = document.getElementById(next.id);
    if (!old) return;
    const focus = document.activeElement;
    const held = old !== focus && old.contains(focus) && (focus.getAttribute("href") || focus.className);
    old.className = next.className;
    old.replaceChildren(...next.childNodes);
    if (!held) return;
    for (const e of old.querySelectorAll("a, [tabindex]")) {
      if (held === (e.getAttribute("href") || e.className)) return e.focus({preventScroll: true});
    }
  }

  function take(event) {
    const t = document.createElement("template");
    t.innerHTML = event.data;
    for (const next of [...t.content.children]) update(next);
    if (event.lastEventId) document.documentElement.dataset.snapshot = event.lastEventId;
    const problems = document.querySelectorAll("#problem tbody tr").length;
    document.title = (problems ? `(${problems}) ` : "") + document.querySelector("h1").textContent;
  }

  function open() {
    source = new EventSource("status/events?at=" + encodeURIComponent(document.documentElement.dataset.snapshot));
    source.addEventListener("part", take);
    source.addEventListener("row", take);
    source.onopen = () => { link.textContent = "Live"; };
    source.onerror = () => {
      link.textContent = "No connection: this is the last known state";
      if (source.readyState === EventSource.CLOSED) setTimeout(() => { if (pause.ariaPressed !== "true") open(); }, 5000);
    };
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", paused);
    source.close();
    if (paused) link.textContent = "Paused";
    else open();
  });
  open();
})();
