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
    const b = layout.margin.b, t = layout.margin.t + legendRows(layout, width) * 20;
    const inner = width - layout.margin.l - layout.margin.r;
    const gapX = shared ? 0.03 : Math.min(0.2, 52 / inner), gapY = 48 / (rows * row);
    const wide = (1 - gapX * (columns - 1)) / columns, tall = (1 - gapY * (rows - 1)) / rows;
    const copy = structuredClone(layout);
    copy.margin.t = t;
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

  // Lines that the legend, and buttons beside it, need beyond the first.
  function legendRows(layout, width) {
    const entries = layout.meta.entries || 0, besides = layout.updatemenus && width < 700 ? 2 : 0;
    return besides + Math.max(0, Math.ceil(entries / Math.max(1, Math.floor(width / 140))) - 1);
  }

  const drawn = new Map();
  function draw(plot) {
    const script = plot.closest("figure").querySelector("script.figure");
    const figure = drawn.get(plot) || JSON.parse(script.textContent);
    if (figure.layout.meta) figure.layout.meta.entries = figure.data.filter((trace) => trace.name && trace.showlegend !== false).length;
    drawn.set(plot, figure);
    const width = plot.clientWidth;
    const layout = arranged(figure.layout, width);
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

  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      drawn.forEach((_, plot) => {
        if (plot.isConnected && +plot.dataset.drawn !== plot.clientWidth) draw(plot);
      });
      document.querySelectorAll(".compare").forEach(compare);
    }, 150);
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

  // Two configurations side by side, from what the page holds.
  function compare(box) {
    const { all, shared } = JSON.parse(box.querySelector("script").textContent);
    const [a, b] = box.querySelectorAll("select"), body = box.querySelector("tbody"), plot = box.querySelector(".curves");
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
      // Two chosen configurations, where there are two.
      const chosen = [...all.keys()].filter((number) => all[number].scores.seeds);
      a.value = chosen[0] ?? 0;
      b.value = chosen[1] ?? Math.min(1, all.length - 1);
    }
    const shown = (value) => value === null || value === undefined ? "–"
      : typeof value === "number" && !Number.isInteger(value) ? +value.toPrecision(5) : String(value);
    function show() {
      const two = [all[a.value], all[b.value]];
      const rows = [];
      for (const part of ["scores", "values"]) {
        const names = [...new Set(two.flatMap((one) => Object.keys(one[part])))];
        for (const name of names) rows.push([name.replaceAll("_", " "), ...two.map((one) => shown(one[part][name]))]);
      }
      for (const [name, value] of Object.entries(shared)) rows.push([name.replaceAll("_", " "), shown(value), shown(value)]);
      rows.push(["trial", two[0].trial, two[1].trial]);
      body.replaceChildren(...rows.map(([name, left, right]) => {
        const row = document.createElement("tr");
        row.append(...[name, left, right].map((text, at) => {
          const cell = document.createElement(at ? "td" : "th");
          cell.textContent = text;
          return cell;
        }));
        row.classList.toggle("differs", left !== right);
        return row;
      }));
      const traces = two.map((one, at) => ({
        x: one.curve ? one.curve[0] : [], y: one.curve ? one.curve[1] : [], mode: "lines", name: "AB"[at],
        line: { color: ["#0072b2", "#d55e00"][at], dash: ["solid", "dash"][at] },
        hovertemplate: "AB"[at] + ": %{y:.4g} after epoch %{x}<extra></extra>" }));
      const metric = two[0].metric === two[1].metric ? two[0].metric : "the metric of each";
      Plotly.react(plot, traces, {
        height: 300, width: plot.clientWidth, margin: { l: 60, r: 16, t: 32, b: 44 }, hovermode: "closest",
        font: { family: "system-ui, sans-serif", size: 12, color: "#1a1a1a" },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom" },
        xaxis: { title: { text: "epoch" }, showgrid: false, showline: true, zeroline: false, rangemode: "tozero" },
        yaxis: { title: { text: metric.replace(/[<>&]/g, "") }, gridcolor: "#e4e4e4", zeroline: false },
      }, config);
    }
    a.onchange = b.onchange = show;
    if (all.length) show();
  }

  // A served page asks whether there is a newer one, and takes its content over in place.
  async function follow() {
    const page = document.getElementById("page");
    try {
      const version = await (await fetch("version", { cache: "no-store" })).text();
      if (version !== page.dataset.live) await renew(page);
      document.body.classList.remove("lost");
    } catch { document.body.classList.add("lost"); }
    setTimeout(follow, 2000);
  }

  async function renew(page) {
    const text = await (await fetch(".", { cache: "no-store" })).text();
    const next = new DOMParser().parseFromString(text, "text/html");
    const fresh = next.getElementById("page"), scroll = scrollY;
    const path = (node) => (node.closest("[id]") || page).id + ":" + node.firstElementChild.textContent;
    const open = new Set([...page.querySelectorAll("details[open]")].map(path));
    const chosen = [...page.querySelectorAll("select")].map((select) => [select.id, select.value]);
    const heights = new Map([...page.querySelectorAll(".plot")].map((plot) => [plot.closest("figure").id, plot.style.minHeight]));
    drawn.forEach((_, plot) => Plotly.purge(plot));
    page.replaceWith(fresh);
    document.title = next.title;
    fresh.querySelectorAll(".compare").forEach(compare);
    fresh.querySelectorAll("details").forEach((node) => { node.open = open.has(path(node)); });
    for (const [id, value] of chosen) {
      const select = document.getElementById(id);
      if (select && [...select.options].some((option) => option.value === value)) select.value = value;
    }
    document.querySelectorAll(".compare").forEach(compare);
    fresh.querySelectorAll(".plot").forEach((plot) => {
      plot.style.minHeight = heights.get(plot.closest("figure").id) || plot.style.minHeight;
    });
    watch();
    scrollTo(0, scroll);
  }

  watch();
  document.querySelectorAll(".compare").forEach(compare);
  if (document.getElementById("page").dataset.live) setTimeout(follow, 2000);
})();
