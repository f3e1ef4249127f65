"use strict";
(() => {
  const config = { displaylogo: false, responsive: false, displayModeBar: false };

  // Panels beside one another as far as there is room; the same as analysis/figures/panels.py does at full width.
  function arranged(layout, width) {
    const panels = layout.meta && layout.meta.panels;
    if (!panels) return layout;
    const { count, row, least, shared } = panels;
    const columns = Math.max(1, Math.min(panels.columns, Math.floor(width / least)));
    const rows = Math.ceil(count / columns);
    const { t, b } = layout.margin;
    const gapX = 0.03, gapY = 48 / (rows * row);
    const wide = (1 - gapX * (columns - 1)) / columns, tall = (1 - gapY * (rows - 1)) / rows;
    const copy = structuredClone(layout);
    copy.height = rows * row + t + b;
    for (let number = 0; number < count; number++) {
      const suffix = number ? number + 1 : "", column = number % columns;
      const left = column * (wide + gapX), high = 1 - Math.floor(number / columns) * (tall + gapY);
      Object.assign(copy["xaxis" + suffix], {
        domain: [left, left + wide], showticklabels: !shared || number + columns >= count });
      Object.assign(copy["yaxis" + suffix], {
        domain: [Math.max(0, high - tall), high], showticklabels: !shared || column === 0 });
      Object.assign(copy.annotations[number], { x: left, y: high });
    }
    return copy;
  }

  const drawn = new Map();
  function draw(plot) {
    const script = plot.closest("figure").querySelector("script.figure");
    const figure = drawn.get(plot) || JSON.parse(script.textContent);
    drawn.set(plot, figure);
    const width = plot.clientWidth;
    const layout = arranged(figure.layout, width);
    // Legends of narrow screens stand below the axis, where they push nothing aside.
    Plotly.react(plot, figure.data, { ...layout, width, autosize: false }, config);
    plot.style.minHeight = (layout.height || 360) + "px";
    plot.dataset.drawn = width;
  }

  let near = null;
  function watch() {
    if (near) near.disconnect();
    drawn.clear();
    near = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "600px" });
    document.querySelectorAll(".plot").forEach((plot) => near.observe(plot));
    document.querySelectorAll(".compare").forEach(compare);
  }

  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => drawn.forEach((_, plot) => {
      if (plot.isConnected && +plot.dataset.drawn !== plot.clientWidth) draw(plot);
    }), 150);
  });

  addEventListener("click", async (event) => {
    if (!event.target.matches("button.copy")) return;
    const button = event.target, code = button.parentElement.querySelector("code");
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    let done = false;
    try { await navigator.clipboard.writeText(code.textContent); done = true; }
    catch { done = document.execCommand("copy"); }
    button.textContent = done ? "copied" : "selected";
    setTimeout(() => { button.textContent = "copy"; }, 2000);
  });

  function compare() {}

  watch();
})();
