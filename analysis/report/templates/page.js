"use strict";
(() => {
  const config = { displaylogo: false, responsive: false, displayModeBar: false };

  // Panels beside one another as far as there is room: what analysis/figures/arranged.py does where a figure is written.
  function arranged(layout, width) {
    const panels = layout.meta && layout.meta.panels;
    if (!panels) return layout;
    const { count, row, least, shared, room } = panels;
    const columns = Math.max(1, Math.min(panels.columns, Math.floor(width / least)));
    const rows = Math.ceil(count / columns);
    const inner = width - layout.margin.l - layout.margin.r;
    const gapX = columns > 1 ? Math.min(0.5, (room + (shared ? 22 : 52)) / inner) : 0, gapY = 48 / (rows * row);
    const wide = (1 - gapX * (columns - 1)) / columns, tall = (1 - gapY * (rows - 1)) / rows;
    const copy = structuredClone(layout);
    copy.height = rows * row + layout.margin.t + layout.margin.b;
    for (let number = 0; number < count; number++) {
      const suffix = number ? number + 1 : "", column = number % columns;
      const left = column * (wide + gapX), high = 1 - Math.floor(number / columns) * (tall + gapY);
      Object.assign(copy["xaxis" + suffix], {
        domain: [left, Math.min(1, left + wide)], showticklabels: !shared || number + columns >= count });
      Object.assign(copy["yaxis" + suffix], {
        domain: [Math.max(0, high - tall), high], showticklabels: !shared || column === 0 });
      Object.assign(copy.annotations[number], { x: left, y: high });
    }
    return copy;
  }

  const drawn = new Map();
  function draw(plot, width = plot.clientWidth) {
    const script = plot.closest("figure").querySelector("script.figure");
    const figure = drawn.get(plot) || JSON.parse(script.textContent);
    drawn.set(plot, figure);
    const layout = arranged(figure.layout, width);
    plot.querySelector(".still")?.remove();
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
  }

  // Every figure again, at the width of the screen or, to be printed, at one that fits a page of A4 or letter.
  const PRINTED = 690, PAGE = 960;
  function redraw(plots, width) {
    plots.forEach((plot) => {
      plot.style.zoom = "";
      const wide = width || plot.clientWidth;
      if (plot.isConnected && +plot.dataset.drawn !== wide) draw(plot, wide);
      // One that is higher than a page is made smaller, so that no row of panels is cut in two.
      if (width) plot.style.zoom = Math.min(1, PAGE / plot.offsetHeight);
    });
    document.querySelectorAll(".compare").forEach((box) => compare(box, width));
  }
  const all = () => document.querySelectorAll(".plot");
  addEventListener("beforeprint", () => redraw(all(), PRINTED));
  addEventListener("afterprint", () => redraw(all()));

  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => redraw([...drawn.keys()]), 150);
  });

  addEventListener("click", async (event) => {
    if (!event.target.matches("button.copy")) return;
    const button = event.target, code = button.parentElement.querySelector("code");
    const label = button.dataset.label || (button.dataset.label = button.textContent);
    if (code.closest("details")) code.closest("details").open = true;  // what is hidden cannot be selected
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    let done = false;
    try { await navigator.clipboard.writeText(code.textContent); done = true; }
    catch { done = document.execCommand("copy"); }
    button.textContent = done ? "copied" : "selected";
    setTimeout(() => { button.textContent = label; }, 2000);
  });

  // Two configurations side by side, from what the page holds; the best two at first.
  function compare(box, width) {
    const { all, shared, best } = JSON.parse(box.querySelector("script").textContent);
    const [a, b] = box.querySelectorAll("select"), only = box.querySelector("input");
    const body = box.querySelector("tbody"), plot = box.querySelector(".curves"), note = box.querySelector(".same");
    if (!a.options.length) {
      for (const select of [a, b]) {
        const groups = new Map();
        all.forEach((one, number) => {
          if (!groups.has(one.group)) {
            groups.set(one.group, document.createElement("optgroup"));
            groups.get(one.group).label = one.group;
            select.append(groups.get(one.group));
          }
          groups.get(one.group).append(new Option(one.label, number));
        });
      }
      [a.value, b.value] = best;
    }
    const shown = (value) => value === null || value === undefined ? "–"
      : typeof value === "number" && !Number.isInteger(value) ? String(+value.toPrecision(4)) : String(value);
    function table(two) {
      const rows = [];
      for (const part of ["scores", "values"]) {
        const names = [...new Set(two.flatMap((one) => Object.keys(one[part])))];
        for (const name of names) rows.push([name.replaceAll("_", " "), ...two.map((one) => shown(one[part][name]))]);
      }
      for (const [name, value] of Object.entries(shared)) rows.push([name.replaceAll("_", " "), shown(value), shown(value)]);
      rows.push(["trial", two[0].trial, two[1].trial]);
      const same = rows.filter(([, left, right]) => left === right).length;
      note.textContent = !only.checked || !same ? "" : `${same} more ${same === 1 ? "value is" : "values are"} the same in both.`;
      body.replaceChildren(...rows.filter(([, left, right]) => !only.checked || left !== right).map(([name, left, right]) => {
        const row = document.createElement("tr");
        row.append(...[name, left, right].map((text, at) => {
          const cell = document.createElement(at ? "td" : "th");
          if (!at) cell.scope = "row";
          cell.textContent = text;
          return cell;
        }));
        row.classList.toggle("differs", !only.checked && left !== right);
        return row;
      }));
    }
    function curves(two) {
      const wide = width || plot.clientWidth;
      const metric = two[0].metric === two[1].metric ? two[0].metric : "the metric of each";
      const labels = two.map((one) => one.label);
      const traces = two.map((one, at) => ({
        x: one.curve ? one.curve[0] : [], y: one.curve ? one.curve[1] : [], mode: "lines+markers", name: "AB"[at] + " " + labels[at].replace(/[<>&]/g, ""),
        line: { color: ["#0072b2", "#d55e00"][at] }, marker: { symbol: ["circle", "square"][at], size: 7 },
        hovertemplate: "AB"[at] + ": %{y:.4g} after epoch %{x}<extra></extra>" }));
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `Learning curves of A, ${labels[0]}, and B, ${labels[1]}: ${metric} by epoch`);
      Plotly.react(plot, traces, {
        height: 320, width: wide, margin: { l: 60, r: 16, t: 64, b: 44 }, hovermode: "closest",
        font: { family: "system-ui, sans-serif", size: 12, color: "#1a1a1a" },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
        xaxis: { title: { text: "epoch" }, showgrid: false, showline: true, zeroline: false, rangemode: "tozero" },
        yaxis: { title: { text: metric.replace(/[<>&]/g, "") }, gridcolor: "#e4e4e4", zeroline: false },
      }, config);
    }
    function show() {
      const two = [all[a.value], all[b.value]];
      table(two);
      curves(two);
    }
    a.onchange = b.onchange = only.onchange = show;
    if (all.length) show();
  }

  // What a served page calls when it has taken a newer one over (live.js): `boxes` are those whose data has changed.
  window.report = { renewed(boxes) {
    drawn.forEach((_, plot) => {
      if (plot.isConnected) return;
      Plotly.purge(plot);
      drawn.delete(plot);
    });
    for (const box of boxes) {
      const plot = box.querySelector(".plot");
      if (box.matches(".compare")) recompare(box);
      else if (plot && drawn.delete(plot)) draw(plot);
    }
    document.querySelectorAll(".plot").forEach((plot) => { if (!drawn.has(plot)) near.observe(plot); });
    document.querySelectorAll(".compare").forEach((box) => { if (!box.querySelector("option")) compare(box); });
  } };

  // The same two configurations as before, among those that are there now.
  function recompare(box) {
    const selects = [...box.querySelectorAll("select")], chosen = selects.map((one) => one.selectedOptions[0]?.text);
    selects.forEach((one) => one.replaceChildren());
    compare(box);
    selects.forEach((one, at) => {
      const same = [...one.options].find((option) => option.text === chosen[at]);
      if (same) one.value = same.value;
    });
    compare(box);
  }

  watch();
  document.querySelectorAll(".compare").forEach((box) => compare(box));
})();
