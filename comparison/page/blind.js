"use strict";

// A blind listening test: MUSHRA (sliders, hidden reference and anchors) or ABX. Order of trials and of sounds is drawn
// for each listener; the first trial is practice. Answers leave as a file, and nothing goes over a network.
const sounds = {};
const LABELS = ["bad", "poor", "fair", "good", "excellent"];
const at = (id) => document.getElementById(id);

const state = { context: null, source: null, trial: -1, order: [], rows: [], began: 0, answers: [] };

function shuffled(list) {
  const drawn = [...list];
  for (let last = drawn.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [drawn[last], drawn[other]] = [drawn[other], drawn[last]];
  }
  return drawn;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function buffer(trial, stimulus) {
  const held = sounds[trial][stimulus];
  if (typeof held === "string") {
    const bytes = Uint8Array.from(atob(held), (letter) => letter.charCodeAt(0));
    sounds[trial][stimulus] = state.context.decodeAudioData(bytes.buffer);
  }
  return sounds[trial][stimulus];
}

function stop() {
  state.source?.stop();
  state.source = null;
  document.querySelectorAll("#sounds button").forEach((button) => button.setAttribute("aria-pressed", "false"));
}

async function play(button, stimulus) {
  const sound = await buffer(current().id, stimulus);
  stop();
  state.source = new AudioBufferSourceNode(state.context, { buffer: sound, loop: test.method === "mushra" });
  state.source.connect(state.context.destination);
  state.source.start();
  button.setAttribute("aria-pressed", "true");
  button.dataset.heard = "yes";
  check();
}

const current = () => state.order[state.trial];

function player(name, stimulus) {
  const button = element("button", { textContent: name, type: "button" });
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => play(button, stimulus));
  return button;
}

function sliderRow(stimulus, number) {
  const slider = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: `Rating of sound ${number}` });
  const shown = element("output", { textContent: "–" });
  slider.addEventListener("input", () => { shown.textContent = slider.value; slider.dataset.moved = "yes"; check(); });
  const row = element("div", { className: "row" }, player(`Sound ${number}`, stimulus), slider, shown);
  return { stimulus, row, score: () => Number(slider.value) };
}

function mushraTrial(trial) {
  state.rows = shuffled(trial.stimuli).map((stimulus, place) => sliderRow(stimulus, place + 1));
  const scale = element("div", { className: "scale" }, ...LABELS.map((text) => element("span", { textContent: text })));
  return [player("Reference", "reference"), scale, ...state.rows.map(({ row }) => row)];
}

function abxTrial(trial) {
  const x = Math.random() < 0.5 ? "A" : "B";
  const found = { codec: trial.codec, x, answer: "" };
  const choice = (name) => {
    const input = element("input", { type: "radio", name: "x", value: name });
    input.addEventListener("change", () => { found.answer = name; check(); });
    return element("label", {}, input, ` X is ${name} `);
  };
  state.rows = [found];
  const heard = { A: "reference", B: trial.codec };
  return [player("A", heard.A), player("B", heard.B), player("X", heard[x]), element("p", {}, choice("A"), choice("B"))];
}

function check() {
  const silent = document.querySelectorAll("#sounds button:not([data-heard])").length;
  const still = document.querySelectorAll("#sounds input[type=range]:not([data-moved])").length;
  const open = test.method === "abx" && !state.rows[0].answer;
  at("next").disabled = silent + still > 0 || open;
  at("left").textContent = silent ? `${silent} not heard yet` : still ? `${still} not rated yet` : "";
}

function show() {
  state.trial += 1;
  if (state.trial === state.order.length) { finish(); return; }
  const trial = current();
  at("place").textContent = trial.training ? "Practice" : `${state.trial} of ${state.order.length - 1}`;
  at("sounds").replaceChildren(...(test.method === "abx" ? abxTrial(trial) : mushraTrial(trial)));
  state.began = Date.now();
  check();
  at("place").focus();
}

function keep() {
  const trial = current();
  const common = { trial: trial.id, training: Boolean(trial.training), seconds: (Date.now() - state.began) / 1000 };
  const own = test.method === "abx" ? state.rows : state.rows.map(({ stimulus, score }) => ({ stimulus, score: score() }));
  state.answers.push(...own.map((answer) => ({ ...common, ...answer })));
}

function finish() {
  const listener = at("listener").value.trim() || "unnamed";
  const text = JSON.stringify({ test: test.id, method: test.method, listener, answers: state.answers }, null, 1);
  const link = at("answers");
  link.download = link.textContent = `${test.method}-${listener.replace(/[^\w-]+/g, "-")}-${Date.now()}.json`;
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  at("trial").hidden = true;
  at("end").hidden = false;
  link.click();
}

at("begin").addEventListener("click", () => {
  state.context = new AudioContext();
  const [practice, ...rest] = test.trials;
  state.order = [{ ...practice, training: true }, ...shuffled(rest)];
  at("welcome").hidden = true;
  at("trial").hidden = false;
  show();
});
at("stop").addEventListener("click", stop);
at("next").addEventListener("click", () => { stop(); keep(); show(); });
