"use strict";
// The recording goes to the server of this machine; original and coded speech start together, and only their volumes change.

const $ = (id) => document.getElementById(id);
const COLOURS = { lpc: "#e0a030", gain: "#8a63d2", "codec 1": "#2a7fbf", "codec 2": "#3a9d6a", "codec 3": "#c2515c", copy: "#6b7680" };
const NO_COPY = 3; // kbps, of which hardly a model makes a copy
const WINDOW = 512, HOP = 256, FLOOR_DB = 70;
let recording = null, trial = null, player = null, heard = "decoded", pending = null, request = null;

function show(error) {
  $("error").hidden = !error;
  $("error").textContent = error || "";
}

async function loadModels() {
  const models = await (await fetch("models")).json();
  for (const model of models) {
    const option = new Option(`${model.name} (${model.parameters.toLocaleString("en")} parameters)`, model.name, model.default, model.default);
    option.dataset.anyRate = model.any_rate;
    option.dataset.layers = model.layers;
    $("model").append(option);
  }
  chooseModel();
}

function chooseModel() {
  const anyRate = $("model").selectedOptions[0].dataset.anyRate === "true";
  $("rate-label").hidden = !anyRate;
  const layers = Number($("model").selectedOptions[0].dataset.layers);
  $("layers-label").hidden = layers === 1;
  $("layers").replaceChildren(...Array.from({ length: layers }, (_, i) => new Option(`${i + 1} of ${layers}`, i + 1)));
  $("layers").value = layers;
  for (const id of ["refresh", "redundancy"]) $(`${id}-label`).hidden = !anyRate;
  $("spans").max = anyRate ? 16 : 4;
  $("spans").value = 1;
  showLength();
}

function showLength() { // models for any rate send packets, the others groups
  const [what, unit] = $("refresh-label").hidden ? ["groups", 480] : ["packets", 40];
  $("spans-shown").textContent = `${what} of ${$("spans").value * unit} ms`;
}

function showCopy() {
  $("redundancy-shown").textContent = $("redundancy").value > NO_COPY ? `${$("redundancy").value} kbps` : "none";
}

function take(bytes, name) {
  recording = { bytes, name };
  $("name").textContent = name;
  code();
}

async function code() {
  if (!recording) return;
  request?.abort();
  request = new AbortController();
  const anyRate = $("model").selectedOptions[0].dataset.anyRate === "true";
  const query = new URLSearchParams({ name: recording.name, model: $("model").value, spans: $("spans").value, loss: $("loss").value / 100, burst: $("burst").value });
  if (anyRate) query.set("kbps", $("kbps").value);
  if (anyRate) query.set("refresh", $("refresh").value);
  if (anyRate && $("redundancy").value > NO_COPY) query.set("redundancy", $("redundancy").value);
  if (!$("layers-label").hidden) query.set("layers", $("layers").value);
  document.body.classList.add("busy");
  try {
    const response = await fetch(`code?${query}`, { method: "POST", body: recording.bytes, signal: request.signal });
    const answer = await response.json();
    show(answer.error);
    if (!answer.error) present(answer);
    document.body.classList.remove("busy");
  } catch (failure) {
    if (failure.name === "AbortError") return; // a later choice is on its way
    show("the server does not answer: start nsc demo again");
    document.body.classList.remove("busy");
  }
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function samplesOf(wav) { // 16-bit PCM behind a header of 44 bytes, as the server writes it
  const bytes = bytesOf(wav);
  return Float32Array.from(new Int16Array(bytes.buffer.slice(44)), (value) => value / 32768);
}

function present(answer) {
  const at = player ? player.position() : 0, playing = Boolean(player?.playing());
  player?.stop();
  trial = { ...answer, original: samplesOf(answer.original), decoded: samplesOf(answer.decoded) };
  player = makePlayer(trial);
  $("result").hidden = false;
  const kbps = (8 * answer.bytes) / 1000 / answer.seconds;
  const lost = answer.lost.length ? `, ${answer.lost.length} of ${answer.packets} packets lost, ${answer.lost.length + answer.concealed.length - answer.restored.length} concealed` : "";
  const notes = answer.notes.length ? ` (${answer.notes.join("; ")})` : "";
  $("facts").textContent = `${kbps.toFixed(2)} kbps: ${answer.bytes.toLocaleString("en")} bytes for ${answer.seconds.toFixed(2)} s, delay ${Math.round(answer.delay_ms)} ms${lost}${notes}`;
  $("download").href = URL.createObjectURL(new Blob([bytesOf(answer.file)]));
  $("download").download = recording.name.replace(/\.[^.]*$/, "") + ".nsc";
  drawPackets(trial);
  drawBits(trial);
  hear(heard);
  if (playing) player.play(Math.min(at, answer.seconds - 0.01));
}

function makePlayer({ original, decoded }) {
  const context = (makePlayer.context ??= new AudioContext());
  const gains = {}, buffers = {};
  for (const [name, samples] of Object.entries({ original, decoded })) {
    buffers[name] = context.createBuffer(1, samples.length, 16000);
    buffers[name].copyToChannel(samples, 0);
    gains[name] = context.createGain();
    gains[name].connect(context.destination);
  }
  let sources = [], started = 0, from = 0;
  const position = () => (sources.length ? Math.min(context.currentTime - started + from, original.length / 16000) : from);
  const stop = () => {
    from = position();
    for (const source of sources) { source.onended = null; source.stop(); }
    sources = [];
    $("play").textContent = "Play";
  };
  return {
    position, stop,
    playing: () => sources.length > 0,
    play(at = from) {
      stop();
      context.resume();
      from = at;
      started = context.currentTime + 0.05;
      sources = Object.keys(buffers).map((name) => {
        const source = context.createBufferSource();
        source.buffer = buffers[name];
        source.connect(gains[name]);
        source.start(started, from);
        return source;
      });
      sources[0].onended = () => { stop(); from = 0; };
      $("play").textContent = "Stop";
    },
    mix(name) {
      for (const each of Object.keys(gains)) gains[each].gain.setTargetAtTime(each === name ? 1 : 0, context.currentTime, 0.003);
    },
  };
}

function hear(name) {
  heard = name;
  for (const each of ["original", "decoded"]) $(each).setAttribute("aria-pressed", each === name);
  player?.mix(name);
  if (trial) drawSpectrogram(trial[name]);
}

function powers(samples, start, hann) { // of the real FFT, by a radix-2 transform
  const real = new Float64Array(WINDOW), imaginary = new Float64Array(WINDOW);
  for (let i = 0, j = 0; i < WINDOW; i++) {
    real[j] = (samples[start + i] || 0) * hann[i];
    for (let bit = WINDOW >> 1; (j ^= bit) < bit; bit >>= 1);
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const angle = (-2 * Math.PI * k) / size, cosine = Math.cos(angle), sine = Math.sin(angle);
      for (let a = k; a < WINDOW; a += size) {
        const b = a + size / 2;
        const re = real[b] * cosine - imaginary[b] * sine, im = real[b] * sine + imaginary[b] * cosine;
        real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
        real[a] += re; imaginary[a] += im;
      }
    }
  }
  return Float64Array.from({ length: WINDOW / 2 }, (_, k) => real[k] ** 2 + imaginary[k] ** 2);
}

function drawSpectrogram(samples) {
  const canvas = $("spectrogram"), context = canvas.getContext("2d");
  const hann = Float64Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW));
  const columns = Math.max(1, Math.ceil(samples.length / HOP));
  const image = new ImageData(columns, WINDOW / 2);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const loudest = WINDOW * 8; // power of loud speech in a bin
  for (let column = 0; column < columns; column++) {
    const found = powers(samples, column * HOP - HOP, hann);
    for (let bin = 0; bin < WINDOW / 2; bin++) {
      const share = Math.min(1, Math.max(0, 1 + (10 * Math.log10(found[bin] / loudest + 1e-12)) / FLOOR_DB));
      const place = 4 * ((WINDOW / 2 - 1 - bin) * columns + column), value = 255 * (dark ? share : 1 - share);
      image.data.set([value, value, Math.min(255, value + 30 * share), 255], place);
    }
  }
  createImageBitmap(image).then((bitmap) => context.drawImage(bitmap, 0, 0, canvas.width, canvas.height));
}

function damages({ lost, restored, concealed }) { // what became of packets, and how they are drawn
  const gone = lost.filter((number) => !restored.includes(number));
  return [
    { text: "lost", numbers: gone, colour: colour("--bad"), strength: 1 },
    { text: "lost, heard from the copy in the next one", numbers: restored, colour: colour("--mark"), strength: 1 },
    { text: "arrived, but follow a lost one: concealed, too", numbers: concealed, colour: colour("--bad"), strength: 0.4 },
  ].filter(({ numbers }) => numbers.length);
}

function colour(name) {
  return getComputedStyle(document.body).getPropertyValue(name);
}

function drawPackets(trial) {
  const { packets, group_seconds, seconds } = trial;
  const canvas = $("packets"), context = canvas.getContext("2d");
  const width = (group_seconds / seconds) * canvas.width, gap = width > 4 ? 1 : 0;
  const draw = (number) => context.fillRect(number * width, 0, Math.max(1, width - gap), canvas.height);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = colour("--line");
  for (let number = 0; number < packets; number++) draw(number);
  for (const { numbers, colour, strength } of damages(trial)) {
    for (const number of numbers) {
      context.clearRect(number * width, 0, Math.max(1, width - gap), canvas.height);
      context.fillStyle = colour;
      context.globalAlpha = strength;
      draw(number);
      context.globalAlpha = 1;
    }
  }
  const entries = [{ text: "arrived", colour: colour("--line"), strength: 1 }, ...damages(trial)];
  $("packets-legend").replaceChildren(...entries.map((entry) => legendEntry(entry.text, `color-mix(in srgb, ${entry.colour} ${100 * entry.strength}%, transparent)`)));
}

function legendEntry(text, shade) {
  const entry = document.createElement("span");
  entry.style.setProperty("--colour", shade);
  entry.textContent = text;
  return entry;
}

function drawBits(trial) {
  const { bits, unit_seconds, group_seconds, seconds } = trial;
  const canvas = $("bits"), context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  const names = Object.keys(bits), count = bits[names[0]].length;
  const sums = Array.from({ length: count }, (_, i) => names.reduce((sum, name) => sum + bits[name][i], 0));
  const most = Math.max(1, ...sums), scale = canvas.width / seconds;
  for (const { numbers, colour, strength } of damages(trial)) {
    context.fillStyle = colour;
    context.globalAlpha = 0.25 * strength;
    for (const number of numbers) context.fillRect(number * group_seconds * scale, 0, group_seconds * scale, canvas.height);
  }
  context.globalAlpha = 1;
  for (let i = 0; i < count; i++) {
    let base = canvas.height;
    for (const name of names) {
      const height = (bits[name][i] / most) * (canvas.height - 4);
      context.fillStyle = COLOURS[name] ?? "#888";
      context.fillRect(i * unit_seconds * scale, base - height, Math.max(1, unit_seconds * scale - 1), height);
      base -= height;
    }
  }
  const legend = names.map((name) => {
    const kbps = bits[name].reduce((sum, value) => sum + value, 0) / 1000 / seconds;
    return legendEntry(`${name} ${kbps.toFixed(2)} kbps`, COLOURS[name] ?? "#888");
  });
  $("legend").replaceChildren(...legend, `highest: ${(most / 1000 / unit_seconds).toFixed(1)} kbps`);
}

async function record() {
  if (record.recorder) return record.recorder.stop();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch {
    return show("no microphone could be used: allow it in the browser, or choose a file");
  }
  const pieces = [];
  record.recorder = new MediaRecorder(stream);
  record.recorder.ondataavailable = (event) => pieces.push(event.data);
  record.recorder.onstop = async () => {
    record.recorder = null;
    $("record").textContent = "Record";
    for (const track of stream.getTracks()) track.stop();
    const context = new OfflineAudioContext(1, 1, 16000);
    const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
    take(wavOf(sound.getChannelData(0)), "recording.wav");
  };
  record.recorder.start();
  $("record").textContent = "Stop recording";
}

function wavOf(samples) { // 16-bit PCM of 16 kHz
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const write = (place, text) => [...text].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  write(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, 16000, true); view.setUint32(28, 32000, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  write(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return view.buffer;
}

async function takeFile(file) {
  if (file) take(await file.arrayBuffer(), file.name);
}

function later(work) { // sliders move faster than speech is coded
  clearTimeout(pending);
  pending = setTimeout(work, 150);
}

$("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
$("record").addEventListener("click", record);
$("model").addEventListener("change", () => { chooseModel(); code(); });
for (const id of ["layers", "refresh"]) $(id).addEventListener("change", code);
for (const [id, shows] of [["spans", showLength], ["redundancy", showCopy]]) {
  $(id).addEventListener("input", () => { shows(); later(code); });
}
for (const [id, unit] of [["kbps", ""], ["loss", " %"], ["burst", ""]]) {
  $(id).addEventListener("input", () => { $(`${id}-shown`).textContent = $(id).value + unit; later(code); });
}
$("play").addEventListener("click", () => (player.playing() ? player.stop() : player.play()));
for (const name of ["original", "decoded"]) $(name).addEventListener("click", () => hear(name));
for (const id of ["packets", "spectrogram", "bits"]) {
  $(id).addEventListener("click", (event) => player.play((event.offsetX / $(id).clientWidth) * trial.seconds));
}
document.addEventListener("keydown", (event) => {
  if (!trial || /^(INPUT|SELECT|BUTTON|A)$/.test(event.target.tagName)) return;
  if (event.key === " ") { event.preventDefault(); $("play").click(); }
  if (event.key.toLowerCase() === "x") hear(heard === "original" ? "decoded" : "original");
});
for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
for (const kind of ["dragleave", "drop"]) document.addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => takeFile(event.dataTransfer.files[0]));
showCopy();
loadModels();
