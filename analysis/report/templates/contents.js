"use strict";
// The contents say in which block a reader is; asked with every scroll, so that a page that is renewed needs no care.
(() => {
  let asked = false;
  function mark() {
    asked = false;
    const blocks = [...document.querySelectorAll("main > section")];
    const now = blocks.findLast((block) => block.getBoundingClientRect().top < innerHeight / 3);
    for (const link of document.querySelectorAll("nav a")) {
      const here = now !== undefined && link.hash === "#" + now.id;
      if (here === link.hasAttribute("aria-current")) continue;
      link.toggleAttribute("aria-current", here);
      if (!here) continue;
      link.setAttribute("aria-current", "location");
      const row = link.closest("ol");
      row.scrollLeft = link.parentElement.offsetLeft - row.offsetLeft - row.clientWidth / 3;
    }
  }
  const ask = () => { if (!asked) { asked = true; requestAnimationFrame(mark); } };
  addEventListener("scroll", ask, { passive: true });
  addEventListener("resize", ask);
  mark();
})();
