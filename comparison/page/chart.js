"use strict";

// Quality over rate or delay with bands of 95 % intervals, and the table, both of the chosen speakers, corpus and rates.
const chart = JSON.parse(document.getElementById("data").textContent);
const RATE_TICKS = [3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256];
const MARGIN = { left: 46, right: 12, top: 10, bottom: 40 };
const hidden = new Set(chart.families.filter((each) => each.quiet).map((each) => each.name));

const chosen = (id) => document.getElementById(id)?.value ?? "";

function rows() {
  const least = Number(chosen("least")) || 0, most = Number(chosen("most")) || Infinity;
  const group = chart.groups[`${chosen("sex")}|${chosen("part")}`];
  return group.map((row) => (row && row.kbps >= least && row.kbps <= most ? row : null));
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

function steps(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(6)));
}

// Scores of the curves that are shown, by family, from left to right.
function curves(measure, over) {
  const shown = rows();
  return chart.families.filter((family) => !hidden.has(family.name)).map((family) => {
    const points = chart.codecs.map((codec, place) => ({ codec, row: shown[place] }))
      .filter(({ codec, row }) => codec.family === family.name && row && row.scores[measure] && (over === "kbps" || codec.delay))
      .map(({ codec, row }) => ({ codec, x: over === "kbps" ? row.kbps : codec.delay, kbps: row.kbps, mean: row.scores[measure][0], half: row.scores[measure][1] }));
    return { family, points: points.sort((a, b) => a.x - b.x || a.kbps - b.kbps) };
  }).filter(({ points }) => points.length);
}

function axes(points, width, height, logarithmic) {
  const xs = points.map((each) => each.x);
  const lows = points.map((each) => each.mean - each.half), highs = points.map((each) => each.mean + each.half);
  const place = logarithmic ? Math.log : (value) => value;
  const spread = (low, high, share) => [low - share * (high - low || 1), high + share * (high - low || 1)];
  const [left, right] = spread(place(Math.min(...xs)), place(Math.max(...xs)), 0.03);
  const [bottom, top] = spread(Math.min(...lows), Math.max(...highs), 0.04);
  return {
    x: (value) => MARGIN.left + (place(value) - left) / (right - left) * (width - MARGIN.left - MARGIN.right),
    y: (value) => height - MARGIN.bottom - (value - bottom) / (top - bottom) * (height - MARGIN.top - MARGIN.bottom),
    xTicks: logarithmic ? RATE_TICKS.filter((tick) => place(tick) >= left && place(tick) <= right) : steps(left, right),
    yTicks: steps(bottom, top),
  };
}

function grid(scale, width, height, title) {
  const floor = height - MARGIN.bottom;
  const across = scale.yTicks.flatMap((tick) => [
    svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: scale.y(tick), y2: scale.y(tick) }),
    svg("text", { x: MARGIN.left - 6, y: scale.y(tick) + 4, "text-anchor": "end" }, String(tick))]);
  let last = -Infinity;
  const up = scale.xTicks.flatMap((tick) => {
    const line = svg("line", { class: "grid", x1: scale.x(tick), x2: scale.x(tick), y1: MARGIN.top, y2: floor });
    if (scale.x(tick) - last < 24) return [line];
    last = scale.x(tick);
    return [line, svg("text", { x: last, y: floor + 16, "text-anchor": "middle" }, String(tick))];
  });
  const name = svg("text", { x: (MARGIN.left + width) / 2, y: height - 4, "text-anchor": "middle" }, title);
  return [...across, ...up, name];
}

function drawn({ family, points }, scale, measure, over) {
  const fair = points[0].codec.fair.includes(measure);
  const path = (list) => list.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
  const made = svg("g", { style: `--colour: ${family.colour}`, class: fair ? points[0].codec.kind : `${points[0].codec.kind} unfair` });
  if (over === "kbps") {
    const upper = points.map((each) => [scale.x(each.x), scale.y(each.mean + each.half)]);
    const lower = points.map((each) => [scale.x(each.x), scale.y(each.mean - each.half)]).reverse();
    made.append(svg("polygon", { class: "band", points: path([...upper, ...lower]) }));
  }
  if (over === "kbps" || points[0].codec.kind === "model") {
    made.append(svg("polyline", { class: "line", points: path(points.map((each) => [scale.x(each.x), scale.y(each.mean)])) }));
  }
  points.forEach((each) => {
    const [x, low, high] = [scale.x(each.x), scale.y(each.mean - each.half), scale.y(each.mean + each.half)];
    if (over !== "kbps" || points.length === 1) made.append(svg("line", { class: "line", x1: x, x2: x, y1: low, y2: high }));
    const digits = chart.measures[measure].digits;
    const text = `${each.codec.label}: ${each.kbps.toFixed(2)} kbps, ${each.mean.toFixed(digits)} ±${each.half.toFixed(digits)}`;
    made.append(svg("circle", { cx: scale.x(each.x), cy: scale.y(each.mean), r: 4 }, svg("title", {}, text)));
  });
  return made;
}

function drawChart() {
  const place = document.getElementById("chart"), measure = chosen("chart-measure"), over = chosen("over");
  document.getElementById("over-name").textContent = over === "kbps" ? "rate" : "delay";
  const found = curves(measure, over);
  const width = Math.max(300, place.clientWidth), height = Math.max(280, Math.min(460, width * 0.55));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chart.measures[measure]?.title} over ${over}` });
  if (found.length) {
    const scale = axes(found.flatMap((each) => each.points), width, height, over === "kbps");
    const title = `${chart.measures[measure].title} over ${over === "kbps" ? "kbps, measured" : "algorithmic delay, ms"}`;
    picture.append(...grid(scale, width, height, title), ...found.map((each) => drawn(each, scale, measure, over)));
  } else {
    picture.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing measured here"));
  }
  place.replaceChildren(picture);
}

function fillTable() {
  const shown = rows();
  document.querySelectorAll("#scores tbody tr").forEach((line) => {
    const row = shown[Number(line.dataset.codec)];
    line.hidden = !row;
    row?.cells.forEach((cell, column) => {
      line.cells[column].textContent = cell.text;
      line.cells[column].dataset.value = cell.value;
    });
  });
}

function makeLegend() {
  const buttons = chart.families.map((family) => {
    const button = document.createElement("button");
    const fill = () => button.setAttribute("aria-pressed", !hidden.has(family.name));
    Object.assign(button, { type: "button", className: "family", textContent: family.name });
    button.style.setProperty("--colour", family.colour);
    button.addEventListener("click", () => {
      if (!hidden.delete(family.name)) hidden.add(family.name);
      fill();
      drawChart();
    });
    fill();
    return button;
  });
  document.getElementById("legend").append(...buttons);
}

document.querySelectorAll("#filters select, #filters input").forEach((each) => {
  each.addEventListener("input", () => { drawChart(); fillTable(); });
});
new ResizeObserver(drawChart).observe(document.getElementById("chart"));
makeLegend();
