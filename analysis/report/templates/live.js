"use strict";
// A served page asks what runs now, and whether there is a newer page; what has changed of it is changed in place, so
// that nothing flickers, what is open stays open, and what a reader looks at stays where it is.
(() => {
  const PAUSE_MS = 2000, KEPT = new Set(["open", "style", "aria-current", "data-drawn"]);
  const page = () => document.getElementById("page");
  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");
  // Filled and drawn by the page's own script, which is told where its data has changed.
  const OWN = ".plot, .curves, select, .two tbody, .same";

  function alike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  function morph(old, fresh, changed) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.isEqualNode(fresh)) return;
    if (old.matches(OWN)) {
      if (fresh.ariaLabel) old.ariaLabel = fresh.ariaLabel;
      return;
    }
    for (const { name } of [...old.attributes]) if (!KEPT.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) {
      if (!KEPT.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    if (old.matches("script")) {
      old.textContent = fresh.textContent;
      changed.push(old);
    } else {
      children(old, fresh, changed);
    }
  }

  function children(old, fresh, changed) {
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      let mate = at;
      while (mate && !alike(mate, next)) mate = mate.nextSibling;
      if (!mate) {
        old.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (mate === at) at = at.nextSibling;
      else old.insertBefore(mate, at);
      morph(mate, next, changed);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // Whatever grows above it, the first thing on the screen stays where it is.
  function still(change) {
    const seen = scrollY && [...document.querySelectorAll("main *")].find((one) => one.getBoundingClientRect().top >= 0);
    const before = seen && seen.getBoundingClientRect().top;
    change();
    if (seen && seen.isConnected) scrollBy({ top: seen.getBoundingClientRect().top - before, behavior: "instant" });
  }

  function take(text) {
    const next = parsed(text), changed = [];
    // What runs now is newer than the page.
    next.getElementById("now").replaceWith(document.getElementById("now").cloneNode(true));
    still(() => {
      morph(page(), next.getElementById("page"), changed);
      document.title = next.title || document.title;
      window.report.renewed(changed.map((script) => script.closest("figure, .compare")).filter(Boolean));
    });
  }

  function tick() {
    const time = document.querySelector("#now time");
    if (!time) return;
    const at = new Date(time.dateTime), seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
    const ago = seconds < 90 ? `${seconds} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
    const said = [at.toLocaleTimeString(), `, ${ago} ago`];
    [time, document.querySelector("#now .ago")].forEach((one, place) => {
      if (one.textContent !== said[place]) one.textContent = said[place];
    });
  }

  async function follow() {
    try {
      const asked = await (await fetch("now", { cache: "no-store" })).json();
      const fresh = parsed(asked.now).getElementById("now"), now = document.getElementById("now");
      still(() => { morph(now, fresh, []); tick(); });
      if (asked.version !== page().dataset.live) take(await (await fetch("content", { cache: "no-store" })).text());
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
    setTimeout(follow, PAUSE_MS);
  }

  document.documentElement.style.overflowAnchor = "none";
  tick();
  setInterval(tick, 1000);
  follow();
})();
