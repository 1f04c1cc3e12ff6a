// Plays pieces of sound without a gap while the rest is being made. The kernel sends pieces with numbers; this tells it
// how many samples have come and how many have sounded. Nothing is fetched, and all text is set as text.

const LEAD_S = 0.04; // between asking for sound and its start, so that the first piece is not cut
const TICK_MS = 50;
const TELL_MS = 150;
const PLAY_EVENT = "qwen-audio-play";

const shared = (globalThis.__qwenAudio ??= { contexts: new Map(), engines: new Map() });

// The context runs at the rate of the sound, so that the seam between two pieces is never resampled.
function contextFor(rate) {
  let context = shared.contexts.get(rate);
  if (!context || context.state === "closed") {
    context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    shared.contexts.set(rate, context);
  }
  return context;
}

function wavOf(pieces, total, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * total));
  const word = (at, text) => [...text].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  word(0, "RIFF"); view.setUint32(4, 36 + 2 * total, true); word(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  word(36, "data"); view.setUint32(40, 2 * total, true);
  let at = 44;
  for (const { samples } of pieces) {
    for (const value of samples) {
      view.setInt16(at, Math.round(Math.max(-1, Math.min(1, value)) * 32767), true);
      at += 2;
    }
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}

function samplesOf(buffer, dtype) {
  const bytes = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
  return dtype === "int16" ? Float32Array.from(new Int16Array(bytes), (value) => value / 32768) : new Float32Array(bytes);
}

class Engine extends EventTarget {
  constructor(model) {
    super();
    this.model = model;
    this.told = {};
    this.toldAt = 0;
    this.onOtherPlays = (event) => event.detail !== this && this.pause();
    globalThis.addEventListener(PLAY_EVENT, this.onOtherPlays);
    this.reset(-1, 24000);
  }

  reset(run, rate) {
    this.silence();
    if (this.url) URL.revokeObjectURL(this.url);
    Object.assign(this, { run, rate, url: "", pieces: [], early: new Map(), nextSeq: 0, count: -1, total: 0 });
    Object.assign(this, { state: "empty", at: 0, gaps: 0, peak: 0 });
    this.changed(true);
  }

  get complete() {
    return this.count >= 0 && this.nextSeq >= this.count;
  }

  add(seq, samples, live) {
    if (seq < this.nextSeq || this.early.has(seq)) return;
    this.early.set(seq, samples);
    while (this.early.has(this.nextSeq)) {
      const piece = this.early.get(this.nextSeq);
      this.early.delete(this.nextSeq++);
      if (piece.length) this.pieces.push({ start: this.total, samples: piece });
      this.total += piece.length;
    }
    if (this.state === "empty" && this.total) {
      this.state = "paused";
      if (live && this.model.get("autoplay")) this.play();
    }
    if (this.state === "playing") this.schedule();
    this.checkComplete();
  }

  finish(count) {
    this.count = count;
    this.checkComplete();
  }

  checkComplete() {
    if (this.complete && !this.url && this.total) this.url = URL.createObjectURL(wavOf(this.pieces, this.total, this.rate));
    this.changed(this.complete);
  }

  play() {
    if (!this.total || this.state === "playing") return;
    if (this.state === "ended") this.at = 0;
    globalThis.dispatchEvent(new CustomEvent(PLAY_EVENT, { detail: this }));
    this.context = contextFor(this.rate);
    this.context.resume().then(() => this.changed(true), () => {});
    this.analyser = this.context.createAnalyser();
    this.analyser.connect(this.context.destination);
    this.window = new Float32Array(this.analyser.fftSize);
    this.nextSample = this.at;
    this.edge = 0;
    this.segments = [];
    this.state = "playing";
    this.schedule();
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.changed(true);
  }

  schedule() {
    const { context, rate } = this;
    for (const { start, samples } of this.pieces) {
      if (start + samples.length <= this.nextSample) continue;
      const part = samples.subarray(this.nextSample - start);
      const soonest = Math.ceil((context.currentTime + LEAD_S) * rate);
      if (this.edge < Math.ceil(context.currentTime * rate)) {
        if (this.edge) this.gaps += 1; // the sound ran dry before this piece came
        this.edge = soonest;
      }
      const buffer = context.createBuffer(1, part.length, rate);
      buffer.copyToChannel(part, 0);
      const node = context.createBufferSource();
      node.buffer = buffer;
      node.connect(this.analyser);
      node.start(this.edge / rate);
      this.segments.push({ sample: this.nextSample, frame: this.edge, length: part.length, node });
      this.edge += part.length;
      this.nextSample += part.length;
    }
  }

  position() {
    if (this.state !== "playing") return this.at;
    const now = this.context.currentTime * this.rate;
    const current = this.segments.findLast((one) => one.frame <= now);
    return current ? current.sample + Math.min(current.length, Math.floor(now - current.frame)) : this.at;
  }

  tick() {
    this.at = this.position();
    this.analyser.getFloatTimeDomainData(this.window);
    this.peak = Math.max(this.peak, this.window.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    if (this.complete && this.at >= this.total) {
      this.silence();
      this.at = this.total;
      this.state = "ended";
    }
    this.changed(this.state !== "playing");
  }

  silence() {
    clearInterval(this.timer);
    for (const { node } of this.segments ?? []) {
      node.onended = null;
      node.stop();
      node.disconnect();
    }
    this.segments = [];
    this.analyser?.disconnect();
    this.analyser = null;
  }

  pause() {
    if (this.state !== "playing") return;
    this.at = this.position();
    this.silence();
    this.state = "paused";
    this.changed(true);
  }

  stop() {
    if (this.state === "empty") return;
    this.silence();
    this.at = 0;
    this.state = "paused";
    this.changed(true);
  }

  seek(sample) {
    const goOn = this.state === "playing";
    if (this.state === "empty") return;
    this.silence();
    this.at = Math.max(0, Math.min(this.total, Math.round(sample)));
    this.state = "paused";
    if (goOn && this.at < this.total) this.play();
    this.changed(true);
  }

  changed(tellNow) {
    this.dispatchEvent(new Event("change"));
    const now = Date.now();
    if (!tellNow && now - this.toldAt < TELL_MS) return;
    this.toldAt = now;
    const blocked = this.state === "playing" && this.context.state === "suspended";
    const facts = {
      state: blocked ? "blocked" : this.state,
      received_samples: this.total,
      played_samples: this.at,
      gaps: this.gaps,
      peak: this.peak,
      wav_bytes: this.url ? 44 + 2 * this.total : 0,
    };
    const fresh = Object.entries(facts).filter(([name, value]) => this.told[name] !== value);
    if (!fresh.length) return;
    this.told = facts;
    fresh.forEach(([name, value]) => this.model.set(name, value));
    this.model.save_changes();
  }

  dispose() {
    this.silence();
    if (this.url) URL.revokeObjectURL(this.url);
    globalThis.removeEventListener(PLAY_EVENT, this.onOtherPlays);
  }
}

// A model is another object for each of the two functions, so the engine is found by a key.
const { engines } = shared;

function initialize({ model }) {
  const engine = new Engine(model);
  const key = model.get("key");
  engines.get(key)?.dispose();
  engines.set(key, engine);
  const hear = (message, buffers) => {
    if (message.kind === "begin" && message.run !== engine.run) engine.reset(message.run, message.rate);
    if (message.run !== engine.run) return;
    if (message.kind === "piece") engine.add(message.seq, samplesOf(buffers[0], message.dtype), message.live);
    if (message.kind === "end") engine.finish(message.count);
    if (message.kind === "do") engine[message.action]?.(message.sample);
  };
  model.on("msg:custom", hear);
  model.send({ kind: "ready" });
  return () => {
    model.off("msg:custom", hear);
    if (engines.get(key) === engine) engines.delete(key);
    engine.dispose();
  };
}

function clock(samples, rate) {
  const seconds = samples / rate;
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

function render({ model, el }) {
  const engine = engines.get(model.get("key"));
  const make = (tag, name, traits = {}) => Object.assign(document.createElement(tag), { className: `qwen-audio-${name}` }, traits);
  const box = make("div", "player");
  const title = make("span", "title");
  const play = make("button", "play", { type: "button" });
  const stop = make("button", "stop", { type: "button" });
  const seek = make("input", "seek", { type: "range", min: 0, step: 1, value: 0 });
  const time = make("span", "time");
  const save = make("a", "save", { download: "speech.wav" });
  box.setAttribute("role", "group");
  box.append(title, play, stop, seek, time, save);
  el.append(box);

  const name = (node, text, shown = text) => {
    if (node.getAttribute("aria-label") !== text) node.setAttribute("aria-label", text);
    node.title = text;
    if (node.textContent !== shown) node.textContent = shown;
  };
  const draw = () => {
    const labels = model.get("labels");
    const { state, total, rate, complete } = engine;
    const playing = state === "playing";
    const blocked = model.get("state") === "blocked";
    box.setAttribute("aria-label", model.get("title") || labels.player);
    title.textContent = model.get("title");
    name(play, playing && !blocked ? labels.pause : labels.play, playing && !blocked ? "▮▮" : "▶");
    name(stop, labels.stop, "■");
    play.disabled = stop.disabled = total === 0;
    name(seek, labels.position, "");
    seek.disabled = !complete || total === 0;
    seek.max = String(Math.max(total, 1));
    if (document.activeElement !== seek || playing) seek.value = String(engine.at);
    seek.setAttribute("aria-valuetext", clock(engine.at, rate));
    time.textContent = `${clock(engine.at, rate)} / ${clock(total, rate)}${complete || !total ? "" : " …"}`;
    name(save, labels.save, labels.save);
    save.hidden = !engine.url;
    if (engine.url) save.href = engine.url;
    else save.removeAttribute("href");
  };
  play.addEventListener("click", () => {
    if (engine.state === "playing" && engine.context.state === "suspended") engine.context.resume().then(() => engine.changed(true));
    else if (engine.state === "playing") engine.pause();
    else engine.play();
  });
  stop.addEventListener("click", () => engine.stop());
  seek.addEventListener("input", () => engine.seek(Number(seek.value)));
  engine.addEventListener("change", draw);
  model.on("change:labels", draw);
  model.on("change:title", draw);
  draw();
  return () => {
    engine.removeEventListener("change", draw);
    model.off("change:labels", draw);
    model.off("change:title", draw);
  };
}

export default { initialize, render };
