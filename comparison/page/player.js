"use strict";

// All codecs of a file play together, each behind a gain of its own, so that switching is a matter of gains and happens
// at the same sample. The sounds come as scripts: a page opened from disk may not fetch files, but may load scripts.
const FADE_SECONDS = 0.005;
const sounds = {};

const player = {
  context: null, file: null, codec: 0, buffers: [], sources: [], gains: [], startedAt: 0, offset: 0, playing: false,

  duration() { return this.buffers.length ? this.buffers[0].duration : 0; },

  position() {
    const passed = this.playing ? this.context.currentTime - this.startedAt : 0;
    const place = this.offset + passed;
    return this.duration() ? (looping() ? place % this.duration() : Math.min(place, this.duration())) : 0;
  },

  async choose(file, codec) {
    if (file === this.file) { this.codec = codec; this.mix(); if (!this.playing) this.start(); return; }
    this.stop();
    this.context ??= new AudioContext();
    const buffers = await decoded(this.context, file);
    Object.assign(this, { file, codec, buffers, offset: 0 });
    this.start();
  },

  start(offset = this.position()) {
    this.stop();
    this.context.resume();
    if (offset >= this.duration()) offset = 0;
    this.gains = this.buffers.map(() => this.context.createGain());
    this.sources = this.buffers.map((buffer, index) => {
      const source = this.context.createBufferSource();
      source.buffer = buffer;
      source.loop = looping();
      source.connect(this.gains[index]).connect(this.context.destination);
      this.gains[index].gain.value = index === this.codec ? 1 : 0;
      return source;
    });
    const when = this.context.currentTime + 0.02;
    this.sources.forEach((source) => source.start(when, offset));
    this.sources[0].onended = () => { if (this.playing && !looping()) { this.stop(); this.offset = 0; show(); } };
    Object.assign(this, { startedAt: when, offset, playing: true });
    show();
  },

  stop() {
    if (!this.playing) return;
    this.offset = this.position();
    this.playing = false;
    this.sources.forEach((source) => { source.onended = null; source.stop(); });
    show();
  },

  mix() {
    const now = this.context.currentTime;
    this.gains.forEach(({ gain }, index) => {
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(index === this.codec ? 1 : 0, now + FADE_SECONDS);
    });
    show();
  },
};

const element = (id) => document.getElementById(id);
const looping = () => element("loop").checked;

function decoded(context, file) {
  const loaded = sounds[file] ? Promise.resolve() : new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `sounds/${file}.js`, onload: resolve, onerror: () => reject(new Error(script.src)) });
    document.head.append(script);
  });
  return loaded.then(() => Promise.all(sounds[file].map((text) =>
    context.decodeAudioData(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer))));
}

function show() {
  element("bar").hidden = player.file === null;
  element("play").textContent = player.playing ? "❚❚" : "▶";
  document.querySelectorAll(".cell").forEach((cell) => {
    const chosen = Number(cell.closest("tr").dataset.file) === player.file && Number(cell.dataset.codec) === player.codec;
    cell.setAttribute("aria-pressed", chosen);
  });
  const cell = document.querySelector('.cell[aria-pressed="true"]');
  element("now").textContent = cell ? cell.getAttribute("aria-label") : "";
}

function follow() {
  const place = element("place");
  if (player.playing && document.activeElement !== place) place.value = player.position() / player.duration();
  requestAnimationFrame(follow);
}

function showScores() {
  const name = element("measure").value;
  document.querySelectorAll(".score").forEach((span) => {
    const value = JSON.parse(span.dataset.scores)[name];
    span.textContent = value ? value.text : "";
    span.dataset.value = value ? value.value : "";
  });
}

// Numbers by size, else text; empty ones last either way.
function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = [a, b].map(Number);
  return direction * (numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1]);
}

function sortRows(heading, valueOf) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  const table = heading.closest("table");
  table.querySelectorAll("th[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(valueOf(a), valueOf(b), ascending ? 1 : -1));
  body.append(...rows);
}

document.querySelectorAll("table.sortable thead th").forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => sortRows(heading, (row) => row.cells[column].dataset.value));
});
document.querySelectorAll("#files thead button").forEach((button) => {
  const column = Number(button.dataset.column);
  button.addEventListener("click", () => sortRows(button.closest("th"),
    (row) => column < 0 ? row.dataset.name : row.querySelectorAll(".score")[column].dataset.value));
});
document.querySelectorAll(".cell").forEach((cell) => {
  cell.addEventListener("click", () => player.choose(Number(cell.closest("tr").dataset.file), Number(cell.dataset.codec)));
});
element("measure").addEventListener("change", showScores);
element("picture").addEventListener("change", () => { element("files").dataset.picture = element("picture").value; });
element("loop").addEventListener("change", () => { if (player.playing) player.start(); });
element("play").addEventListener("click", () => player.playing ? player.stop() : player.start());
element("place").addEventListener("input", () => {
  const offset = element("place").value * player.duration();
  if (player.playing) player.start(offset); else player.offset = offset;
});
element("theme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = dark ? "light" : "dark";
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || player.file === null) return;
  if (event.target.matches("select, input:not([type=range])")) return;
  if (event.key === " " && event.target.closest("button:not(.cell)")) return;
  const codec = Number(event.key) - 1;
  if (event.key >= "1" && event.key <= "9" && codec < player.buffers.length) {
    player.codec = codec;
    player.mix();
  } else if (event.key === " ") {
    event.preventDefault();
    if (player.playing) player.stop(); else player.start();
  }
});

// the space bar stops and goes on, also where a cell has the focus
document.addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.closest(".cell") && player.file !== null) event.preventDefault();
});

element("files").dataset.picture = "spectrogram";
showScores();
follow();
