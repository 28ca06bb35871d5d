// Draws what explorer_data.py packed. The only globals are Plotly and the page's own elements.
"use strict";

const FILES = JSON.parse(document.getElementById("data").textContent);
const STATISTICS = ["mean", "low", "high", "q05", "q25", "median", "q75", "q95"];
const BANDS = {
  mean: { centre: "mean", ends: "95% confidence", parts: ["low", "mean", "high"] },
  median: { centre: "median", ends: "quartiles", parts: ["q25", "median", "q75"] },
  wide: { centre: "median", ends: "5% to 95% of seeds", parts: ["q05", "median", "q95"] },
  centre: { centre: "mean", ends: "no band", parts: ["mean", "mean", "mean"] },
};
const ORDERED = ["#3f6fd1", "#1b9e86", "#c79a1b", "#d6503f"]; // seen on white and on black
const NAMED = ["#3f87d1", "#e08e0b", "#1b9e86", "#cc79a7", "#8c6bd1", "#d6503f", "#8a8f98"];
const FEW = 20; // points are on a linear axis, each with a marker
const MANY = 12; // values are chosen by a slider, or without a tick each
const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];
const plain = (value) => (typeof value === "number" ? String(+value.toPrecision(6)) : value);

// Numbers ---------------------------------------------------------------------------------------

function unpacked(metric, name) {
  // Only what is looked at is decoded, once.
  if (typeof metric[name] !== "string") return metric[name];
  const text = atob(metric[name]);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return (metric[name] = new Float32Array(bytes.buffer));
}

const metrics = new Map();
FILES.forEach((file) => {
  let stride = 1;
  [...file.dims].reverse().forEach((dim) => {
    dim.stride = stride;
    stride *= dim.values.length;
  });
  file.size = stride;
  file.metrics.forEach((metric) => {
    metric.key = `${metric.name} ${metric.units}`;
    if (!metrics.has(metric.key)) metrics.set(metric.key, metric);
  });
});

const everyDim = new Map(); // of all files, with the values of all
FILES.forEach((file) =>
  file.dims.forEach((dim) => {
    const known = everyDim.get(dim.name) ?? { ...dim, values: [] };
    const values = unique([...known.values, ...dim.values]);
    if (values.every((value) => typeof value === "number")) values.sort((a, b) => a - b);
    everyDim.set(dim.name, { ...known, values });
  }),
);
if (FILES.length > 1) {
  const values = FILES.map((file) => file.name);
  everyDim.set("file", { name: "file", label: "file", words: "File", values, numeric: false });
}

// What may be on the horizontal axis: a dimension, a number of the workflows, or the share of real
// data in a mixture.
const horizontals = [];
everyDim.forEach((dim) => {
  if (dim.values.length > 1 || dim.name === "generation")
    horizontals.push({ ...dim, over: dim.name });
});
FILES.flatMap((file) => file.fields).forEach((field) => {
  if (!horizontals.some((other) => other.name === field.name && other.field))
    horizontals.push({ ...field, words: field.label, over: "workflow", field: true, numeric: true });
});
if (FILES.some((file) => file.along === "synthetic")) {
  const label = "Share of real data";
  horizontals.push({ name: "share of real", label, words: label, over: "synthetic", numeric: true });
}

function dimsBeside(horizontal) {
  // The dimensions that are chosen from; workflows that differ in what is horizontal alone are one.
  const found = new Map(everyDim);
  found.delete(horizontal.over);
  if (horizontal.field) {
    const values = unique(
      FILES.flatMap((file) => file.fields)
        .filter((field) => field.name === horizontal.name)
        .flatMap((field) => field.rest.filter((_, place) => field.values[place] !== null)),
    );
    found.set("workflow", { ...everyDim.get("workflow"), values });
  }
  return found;
}

function pointsOf(file, horizontal, at) {
  // Where the points of a line are: their place on the axis and in a file's arrays.
  if (at.file !== undefined && at.file !== file.name) return [];
  let start = 0;
  for (const dim of file.dims) {
    if (dim.name === horizontal.over) continue;
    const place = dim.values.indexOf(at[dim.name]);
    if (place < 0) return [];
    start += place * dim.stride;
  }
  if (horizontal.over === "file") return [{ x: file.name, at: start }];
  const along = file.dims.find((dim) => dim.name === horizontal.over);
  if (!along) return [];
  let x = along.values;
  if (horizontal.field) {
    const field = file.fields.find((other) => other.name === horizontal.name);
    if (!field) return [];
    x = field.values.map((value, place) => (field.rest[place] === at.workflow ? value : null));
  } else if (horizontal.name === "share of real") {
    x = along.values.map((made) => (at.real + made ? at.real / (at.real + made) : null));
  }
  const points = x.map((value, place) => ({ x: value, at: start + place * along.stride }));
  const there = points.filter((point) => point.x !== null);
  return horizontal.numeric ? there.sort((a, b) => a.x - b.x) : there;
}

function lineOf(horizontal, at) {
  // A line of one file, or of all where files are horizontal.
  const parts = FILES.flatMap((file) => {
    const metric = file.metrics.find((other) => other.key === state.metric);
    if (!metric) return [];
    return pointsOf(file, horizontal, at).map((point) => ({ ...point, file, metric }));
  });
  if (!parts.length) return null;
  const read = (name) =>
    parts.map(({ file, metric, at: place }) => {
      const array = unpacked(metric, "statistics");
      return array ? array[STATISTICS.indexOf(name) * file.size + place] : NaN;
    });
  const [low, centre, high] = BANDS[state.band].parts.map(read);
  if (!centre.some(Number.isFinite)) return null;
  const theory = parts.map(({ metric, at: place }, i) => {
    const array = unpacked(metric, "theory");
    return array && !Number.isNaN(centre[i]) ? array[place] : NaN;
  });
  const seeds = new Map();
  if (state.seeds && horizontal.over !== "file")
    parts.forEach(({ file, metric, at: place }, i) => {
      const array = unpacked(metric, "seeds");
      file.seeds.forEach((seed, number) => {
        if (!array) return;
        if (!seeds.has(seed)) seeds.set(seed, centre.map(() => NaN));
        seeds.get(seed)[i] = array[number * file.size + place];
      });
    });
  return { x: parts.map((part) => part.x), low, centre, high, theory, seeds };
}

// Choices ---------------------------------------------------------------------------------------

const state = { metric: [...metrics.keys()][0], band: "mean", theory: true, seeds: false };
Object.assign(state, { xscale: "auto", yscale: "auto", at: {}, hidden: {} });
const several = [...everyDim.values()].filter((dim) => dim.values.length > 1);
state.x = FILES[0].against;
const axes = several.filter((dim) => !["generation", "synthetic", "workflow"].includes(dim.name));
state.colour = (axes.at(-1) ?? several.find((dim) => dim.name === "workflow"))?.name ?? "";
const panel = several.find((dim) => dim.name === "workflow") ?? axes.at(-2);
state.panel = panel && panel.name !== state.colour ? panel.name : "";
try {
  Object.assign(state, JSON.parse(decodeURIComponent(location.hash.slice(1) || "{}")));
} catch {
  // An address that someone mistyped shows the page as it begins.
}

const horizontalNow = () => horizontals.find((one) => one.name === state.x) ?? horizontals[0];

function settle() {
  // Makes choices that exclude one another agree.
  state.x = horizontalNow().name;
  const beside = dimsBeside(horizontalNow());
  if (!metrics.has(state.metric)) state.metric = [...metrics.keys()][0];
  if (!BANDS[state.band]) state.band = "mean";
  const isOne = (name) => (beside.get(name)?.values.length ?? 0) < 2;
  if (state.colour && isOne(state.colour))
    state.colour = axes.findLast((dim) => !isOne(dim.name) && dim.name !== state.panel)?.name ?? "workflow";
  if (isOne(state.colour)) state.colour = "";
  if (isOne(state.panel) || state.panel === state.colour) state.panel = "";
  beside.forEach((dim, name) => {
    if (dim.values.includes(state.at[name])) return;
    state.at[name] = name === "generation" ? dim.values.at(-1) : dim.values[0];
  });
}

function element(tag, properties, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

function choice(id, label, options, value, chosen) {
  const select = element("select", { id });
  options.forEach(([key, said]) => select.append(element("option", { value: key }, said)));
  select.value = value;
  select.addEventListener("change", () => chosen(select.value));
  return element("label", {}, label, select);
}

function tick(id, label, checked, chosen) {
  const input = element("input", { id, type: "checkbox", checked });
  input.addEventListener("change", () => chosen(input.checked));
  return element("label", { className: "tick" }, input, label);
}

function slider(id, dim) {
  const said = element("output", {}, plain(state.at[dim.name]));
  const place = dim.values.indexOf(state.at[dim.name]);
  const input = element("input", { id, type: "range", min: 0, max: dim.values.length - 1 });
  input.value = place;
  input.addEventListener("input", () => {
    state.at[dim.name] = dim.values[input.value];
    said.textContent = plain(state.at[dim.name]);
    draw();
  });
  return element("label", {}, element("span", {}, `${dim.words} `, said), input);
}

function controls() {
  settle();
  const focused = document.activeElement?.id;
  const beside = dimsBeside(horizontalNow());
  const set = (name) => (value) => {
    state[name] = value;
    controls();
  };
  const names = [...beside.values()].filter((d) => d.values.length > 1).map((d) => [d.name, d.words]);
  const scales = [["auto", "as fits"], ["log", "logarithmic"], ["linear", "linear"]];
  const first = element("div", { className: "choices" });
  first.append(
    choice("metric", "Metric", [...metrics].map(([k, m]) => [k, m.label]), state.metric, set("metric")),
    choice("x", "Against", horizontals.map((h) => [h.name, h.words]), state.x, set("x")),
    choice("colour", "Colours", [["", "none"], ...names], state.colour, set("colour")),
    choice("panel", "Panels", [["", "one"], ...names], state.panel, set("panel")),
    choice("band", "Lines and bands", Object.entries(BANDS).map(([k, b]) => [k, `${b.centre}, ${b.ends}`]), state.band, set("band")),
  );
  const second = element("div", { className: "choices" });
  beside.forEach((dim, name) => {
    if (name === state.colour || name === state.panel || dim.values.length < 2) return;
    const choose = (place) => {
      state.at[name] = dim.values[place];
      draw();
    };
    const options = dim.values.map((value, place) => [place, plain(value)]);
    if (dim.numeric && dim.values.length > MANY) second.append(slider(`at-${name}`, dim));
    else second.append(choice(`at-${name}`, dim.words, options, dim.values.indexOf(state.at[name]), choose));
  });
  second.append(
    choice("xscale", "Horizontal axis", scales, state.xscale, set("xscale")),
    choice("yscale", "Vertical axis", scales, state.yscale, set("yscale")),
  );
  const third = element("div", { className: "ticks" });
  if (FILES.some((file) => file.metrics.some((metric) => metric.theory)))
    third.append(tick("theory", "closed forms", state.theory, set("theory")));
  if (FILES.some((file) => file.seeds.length)) third.append(tick("seeds", "single seeds", state.seeds, set("seeds")));
  [state.panel, state.colour].forEach((name) => {
    if (!name) return;
    const hidden = (state.hidden[name] ??= []);
    const group = element("fieldset", {}, element("legend", {}, beside.get(name).words));
    beside.get(name).values.forEach((value, place) => {
      const chosen = (on) => {
        state.hidden[name] = on ? state.hidden[name].filter((v) => v !== value) : [...state.hidden[name], value];
        draw();
      };
      group.append(tick(`${name}-${place}`, plain(value), !hidden.includes(value), chosen));
    });
    third.append(group);
  });
  byId("controls").replaceChildren(first, second, third);
  byId(focused)?.focus();
  draw();
}

document.addEventListener("keydown", (event) => {
  const busy = /^(SELECT|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey;
  if (busy) return;
  const next = (list, value, step) => list[(list.indexOf(value) + step + list.length) % list.length];
  const keys = {
    m: () => (state.metric = next([...metrics.keys()], state.metric, 1)),
    M: () => (state.metric = next([...metrics.keys()], state.metric, -1)),
    b: () => (state.band = next(Object.keys(BANDS), state.band, 1)),
    x: () => (state.xscale = next(["auto", "log", "linear"], state.xscale, 1)),
    y: () => (state.yscale = next(["auto", "log", "linear"], state.yscale, 1)),
    s: () => (state.seeds = !state.seeds),
    t: () => (state.theory = !state.theory),
  };
  if (!keys[event.key]) return;
  keys[event.key]();
  controls();
});

// The picture -----------------------------------------------------------------------------------

function equation(dim, value) {
  // As plot says it; a name that needs no axis stands alone.
  const named = typeof value === "string" && dim.label === dim.name.replaceAll("_", " ");
  return named || dim.name === "workflow" ? String(value) : `${dim.label} = ${plain(value)}`;
}

function colourOf(dim, place) {
  const count = dim.values.length;
  if (!dim.numeric && count <= NAMED.length) return NAMED[place];
  const along = (place / Math.max(count - 1, 1)) * (ORDERED.length - 1);
  const from = Math.min(Math.floor(along), ORDERED.length - 2);
  const channel = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mixed = [0, 1, 2].map((i) => {
    const [a, b] = [channel(ORDERED[from], i), channel(ORDERED[from + 1], i)];
    return Math.round(a + (along - from) * (b - a));
  });
  return `#${mixed.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function ticks(low, high) {
  // Plain numbers on a logarithmic axis: 1, 2, 5, 10 where there are few decades.
  const steps = Math.log10(high / low) < 2.2 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.log10(high) + 1; power++)
    found.push(...steps.map((step) => +`${step}e${power}`));
  const inside = found.filter((value) => value >= low * 0.98 && value <= high * 1.02);
  const every = Math.ceil(inside.length / 8);
  const values = inside.filter((_, place) => place % every === 0);
  const text = values.map((v) => (v >= 1e5 || v < 1e-3 ? v.toExponential().replace("e+", "e") : String(v)));
  return { tickmode: "array", tickvals: values, ticktext: text };
}

function linesNow() {
  const horizontal = horizontalNow();
  const beside = dimsBeside(horizontal);
  const shown = (name) => beside.get(name).values.filter((v) => !(state.hidden[name] ?? []).includes(v));
  const panels = state.panel ? shown(state.panel) : [null];
  const colours = state.colour ? shown(state.colour) : [null];
  return panels.map((panel) => ({
    panel,
    lines: colours.flatMap((colour) => {
      const at = { ...state.at };
      if (!horizontal.field) delete at[horizontal.over];
      if (panel !== null) at[state.panel] = panel;
      if (colour !== null) at[state.colour] = colour;
      const line = lineOf(horizontal, at);
      return line ? [{ ...line, panel, colour }] : [];
    }),
  }));
}

function placed(horizontal, panels, isLog) {
  // Where x stands: 0 has no place on a logarithmic axis, and stands apart on the left.
  const values = unique(panels.flatMap((p) => p.lines.flatMap((line) => line.x))).sort((a, b) => a - b);
  const positive = values.filter((value) => value > 0);
  const step = (positive.at(-1) / positive[0]) ** (1 / Math.max(positive.length - 1, 1));
  const left = positive[0] / Math.max(step, 2);
  const place = (value) => (isLog && value === 0 ? left : value);
  return { values, place };
}

function xIsLog(horizontal, panels) {
  if (!horizontal.numeric) return false;
  const values = panels.flatMap((p) => p.lines.flatMap((line) => line.x));
  const positive = values.filter((value) => value > 0);
  if (!positive.length || values.some((value) => value < 0)) return false;
  if (state.xscale !== "auto") return state.xscale === "log";
  if (horizontal.name === "generation") return unique(values).length > FEW;
  return Math.max(...positive) >= 100 * Math.min(...positive);
}

function yRange(panels) {
  // The logarithmic range, or null for a linear axis. A collapse goes on below anything worth
  // looking at; but every line shows where it begins.
  const lines = panels.flatMap((p) => p.lines);
  const drawn = lines.flatMap((line) => [...line.centre, ...(state.theory ? line.theory : [])]);
  const finite = drawn.filter(Number.isFinite);
  const asked = state.yscale === "auto" ? metrics.get(state.metric).log : state.yscale === "log";
  const positive = finite.filter((value) => value > 0);
  if (!asked || !positive.length || finite.some((value) => value < 0)) return null;
  const more = lines.flatMap((line) => [...line.low, ...line.high, ...[...line.seeds.values()].flat()]);
  const all = [...positive, ...more.filter((value) => Number.isFinite(value) && value > 0)];
  const [low, high] = all.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, 0]);
  const begins = lines.map((line) => line.centre[0]).filter((v) => v > 0);
  const floor = Math.max(low, Math.min(high * 1e-6, Math.min(...begins) / 3));
  return [floor / 1.15, high * 1.15];
}

function tracesOf(line, n, dim, range, place, ink, first) {
  const axes = { xaxis: `x${n}`, yaxis: `y${n}` };
  const name = dim ? equation(dim, line.colour) : BANDS[state.band].centre;
  const colour = dim ? colourOf(dim, dim.values.indexOf(line.colour)) : ORDERED[0];
  const x = line.x.map(place);
  const group = { legendgroup: name, showlegend: false };
  const found = [];
  const banded = x.map((_, i) => i).filter((i) => Number.isFinite(line.low[i]) && Number.isFinite(line.high[i]));
  const floored = (value) => (range && value <= 0 ? range[0] / 10 : value);
  if (state.band !== "centre" && banded.length > 1)
    found.push({
      ...axes, ...group, mode: "lines", line: { width: 0 }, fill: "toself", hoverinfo: "skip",
      fillcolor: `${colour}38`, x: [...banded, ...banded.toReversed()].map((i) => x[i]),
      y: [...banded.map((i) => line.high[i]), ...banded.toReversed().map((i) => floored(line.low[i]))],
    });
  line.seeds.forEach((values, seed) =>
    found.push({
      ...axes, ...group, x, y: values, mode: x.length > 1 ? "lines" : "markers",
      line: { width: 0.7, color: colour }, marker: { size: 4, color: colour }, opacity: 0.55,
      hovertemplate: `seed ${seed}: %{y:.4g}<extra>${name}</extra>`,
    }),
  );
  const bar = banded.length === 1 && state.band !== "centre";
  const off = (end) => line.centre.map((value, i) => (banded.includes(i) ? Math.abs(line[end][i] - value) : 0));
  found.push({
    ...axes, legendgroup: name, showlegend: Boolean(dim) && first, name, x, y: line.centre,
    mode: x.length > FEW ? "lines" : "lines+markers", line: { width: 2, color: colour }, marker: { size: 5 },
    error_y: bar ? { type: "data", array: off("high"), arrayminus: off("low"), color: colour } : undefined,
    customdata: x.map((_, i) => [line.low[i], line.high[i], line.theory[i], plain(line.x[i])]),
    hovertemplate:
      `%{customdata[3]}: %{y:.4g}` + (state.band === "centre" ? "" : " (%{customdata[0]:.3g} to %{customdata[1]:.3g})") +
      (line.theory.some(Number.isFinite) ? "<br>closed form of the mean: %{customdata[2]:.4g}" : "") +
      `<extra>${name}</extra>`,
  });
  if (state.theory && line.theory.some(Number.isFinite))
    found.push({
      ...axes, x, y: line.theory, mode: x.length > 1 ? "lines" : "markers", hoverinfo: "skip", legendgroup: "theory",
      showlegend: false, legendrank: 2000, line: { width: 1.2, dash: "dash", color: ink }, name: "mean, closed form",
      marker: { size: 9, symbol: "line-ew-open", color: ink },
    });
  return found;
}

function draw() {
  const horizontal = horizontalNow();
  const chosen = linesNow();
  const panels = chosen.filter((panel) => panel.lines.length);
  const look = getComputedStyle(document.documentElement);
  const [ink, soft, grid] = ["--ink", "--soft", "--line"].map((name) => look.getPropertyValue(name).trim());
  const width = byId("picture").clientWidth;
  const columns = Math.max(1, Math.min(panels.length, Math.floor(width / 260), 4));
  const rows = Math.max(1, Math.ceil(panels.length / columns));
  const dim = state.colour ? dimsBeside(horizontal).get(state.colour) : null;
  const metric = metrics.get(state.metric);
  const isLog = xIsLog(horizontal, panels);
  const range = yRange(panels);
  const { values, place } = placed(horizontal, panels, isLog);
  const traces = [];
  const height = rows * (columns > 1 ? 300 : 260) + 110;
  const layout = {
    height, margin: { l: 64, r: 8, t: 52, b: 50 }, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
    grid: { rows, columns, pattern: "independent", xgap: 0.12, ygap: 90 / (300 * rows) + 0.12 },
    legend: { orientation: "h", y: -52 / (height - 102), yanchor: "top", x: 0 }, annotations: [],
    hoverlabel: { font: { size: 13 } }, modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
  };
  const named = new Set();
  const units = metric.units ? ` [${metric.units}]` : "";
  panels.forEach(({ panel, lines }, i) => {
    const n = i ? i + 1 : "";
    lines.forEach((line) => {
      traces.push(...tracesOf(line, n, dim, range, place, ink, !named.has(line.colour)));
      named.add(line.colour);
    });
    const axis = { gridcolor: grid, linecolor: soft, zeroline: false, automargin: true, exponentformat: "power" };
    const x = (layout[`xaxis${n}`] = { ...axis, type: isLog ? "log" : horizontal.numeric ? "linear" : "category" });
    if (horizontal.numeric && values.length <= MANY)
      Object.assign(x, { tickmode: "array", tickvals: values.map(place), ticktext: values.map(plain) });
    else if (isLog) Object.assign(x, ticks(values.find((v) => v > 0), values.at(-1)));
    const last = i + columns >= panels.length;
    if (last) x.title = { text: horizontal.words + (horizontal.over === "generation" || !("generation" in state.at) || !everyDim.has("generation") ? "" : `, generation ${state.at.generation}`), standoff: 8, font: { size: 13 } };
    const y = (layout[`yaxis${n}`] = { ...axis, type: range ? "log" : "linear" });
    if (range) Object.assign(y, { range: range.map(Math.log10) }, ticks(...range));
    if (i) y.matches = "y";
    if (i % columns) y.showticklabels = false;
    else y.title = { text: wrapped(metric.label + units, rows > 1 ? 26 : 34), standoff: 6, font: { size: 13 } };
    if (panel !== null)
      layout.annotations.push({
        text: equation(dimsBeside(horizontal).get(state.panel), panel), showarrow: false, xref: `x${n} domain`,
        yref: `y${n} domain`, x: 0, y: 1.02, yanchor: "bottom", xanchor: "left", font: { size: 13 },
      });
  });
  if (traces.some((trace) => trace.name === "mean, closed form"))
    traces.find((trace) => trace.name === "mean, closed form").showlegend = true;
  const removed = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "sendDataToCloud", "sendChartToCloud"];
  const options = { displaylogo: false, responsive: true, modeBarButtonsToRemove: removed, toImageButtonOptions: { format: "svg", filename: metric.name } };
  Plotly.react("picture", traces, layout, options);
  const empty = chosen.filter((panel) => !panel.lines.length).map((panel) => panel.panel);
  caption(panels, horizontal, metric, empty);
  table(panels, horizontal);
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`);
  byId("picture").dataset.drawn = state.metric;
}

function wrapped(text, width) {
  return text.replace(new RegExp(`(.{1,${width}})(?:\\s+|$)`, "g"), "$1<br>").replace(/<br>$/, "");
}

// In words and numbers --------------------------------------------------------------------------

function caption(panels, horizontal, metric, empty) {
  const beside = dimsBeside(horizontal);
  const band = BANDS[state.band];
  const fixed = [...beside.values()].filter((d) => d.name !== state.colour && d.name !== state.panel && d.name !== "file");
  const said = fixed.filter((d) => d.name !== "generation" || beside.has("generation")).map((d) => equation(d, state.at[d.name]));
  const counts = unique(FILES.map((file) => file.count));
  const seeds = counts.length > 1 ? counts.join(" or ") : counts[0];
  const lines = panels.flatMap((panel) => panel.lines);
  const known = state.theory && lines.some((line) => line.theory.some(Number.isFinite));
  const sentences = [`${metric.label}: ${seeds === 1 ? "one seed" : `${band.centre} of ${seeds} seeds, ${band.ends}`}`];
  if (said.length) sentences.push(said.join(", "));
  if (known) sentences.push("dashes: the mean known in closed form");
  if (state.seeds) sentences.push("thin lines: single seeds");
  if (empty.length && state.panel) {
    const names = empty.map((value) => equation(beside.get(state.panel), value));
    sentences.push(`without a finite value: ${names.join(", ")}`);
  }
  byId("caption").textContent = lines.length ? `${sentences.join("; ")}.` : "Nothing of this choice is in the results.";
}

function records(panels, horizontal, all) {
  const beside = dimsBeside(horizontal);
  const parts = BANDS[state.band].parts;
  const head = [state.panel, state.colour].filter(Boolean).map((name) => beside.get(name).words);
  const rows = panels.flatMap(({ lines }) =>
    lines.flatMap((line) => {
      const places = all ? line.x.map((_, i) => i) : [line.x.length - 1];
      const at = [state.panel && line.panel, state.colour && line.colour].filter((v) => v !== "");
      const number = (values, i) => (Number.isFinite(values[i]) ? values[i] : all ? "" : "-");
      return places.map((i) => [...at, line.x[i], ...[line.centre, line.low, line.high, line.theory].map((v) => number(v, i))]);
    }),
  );
  return [[...head, horizontal.words, parts[1], `${parts[0]} end`, `${parts[2]} end`, "closed form of the mean"], ...rows];
}

function table(panels, horizontal) {
  const [head, ...rows] = records(panels, horizontal, false);
  const said = (value) => (typeof value === "number" ? String(+value.toPrecision(4)) : value);
  byId("table").replaceChildren(
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((value) => element("td", {}, said(value)))))),
  );
}

byId("csv").addEventListener("click", () => {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const panels = linesNow().filter((panel) => panel.lines.length);
  const text = records(panels, horizontalNow(), true).map((row) => row.map(quoted).join(",")).join("\n");
  const address = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
  element("a", { href: address, download: `${metrics.get(state.metric).name}.csv` }).click();
  URL.revokeObjectURL(address);
});

matchMedia("(prefers-color-scheme:dark)").addEventListener("change", draw);
let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnWidth) return; // a phone's address bar comes and goes
  drawnWidth = innerWidth;
  draw();
});
controls();
