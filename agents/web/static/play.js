"use strict";
// One session is in hand: what the server last said of it. Everything is drawn from that; texts are only ever text.
const at = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
let held = null;
let waiting = 0;
let queue = Promise.resolve();
const left = new Set(); // sessions that the person ended
const drafts = new Map(); // reasons typed and not yet kept, by session, branch and turn

function make(tag, own = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(own)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...inside);
  return made;
}

async function ask(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const sent = body === undefined ? { headers } : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try { answer = await fetch(path, sent); } catch { throw new Error("The server does not answer. Nothing is lost while it runs: see that therapysim play still does, and try again."); }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(told.error || `The server answered ${answer.status}.`), { status: answer.status });
  return told;
}

// One after another: what is asked while an answer is on its way waits its turn.
function doing(work) {
  waiting += 1;
  document.body.setAttribute("aria-busy", "true");
  lock();
  queue = queue.then(async () => {
    at("error").hidden = true;
    try { await work(); } catch (error) {
      if (error.status === 409 && held && held.id) draw(await ask(one("")).catch(() => held));
      at("error").textContent = error.message;
      at("error").hidden = false;
    }
    waiting -= 1;
    if (!waiting) document.body.removeAttribute("aria-busy");
    lock();
  });
  return queue;
}

const one = (what) => `/api/sessions/${encodeURIComponent(held.id)}${what}`;
const seen = () => [held.branch, held.turns.length];
const change = (what, body) => doing(async () => {
  const told = await ask(one(what), { ...body, seen: seen() });
  if (what !== "/rate") left.delete(held.id);
  draw(told);
});

function lock() {
  const playing = held && held.id;
  const open = playing && !waiting && !held.done && !left.has(held.id);
  for (const id of ["words", "suggest", "speak"]) at(id).disabled = !open;
  at("say").querySelector("[type=submit]").disabled = !open;
  at("undo").disabled = !playing || waiting > 0 || !held.turns.length;
  at("branch").disabled = !playing || waiting > 0;
  at("end").disabled = !open;
  at("save").disabled = !playing || waiting > 0;
}

function draw(told) {
  held = told;
  at("table").hidden = false;
  drawLog();
  drawBranches();
  drawMoved();
  const why = { goal: "The patient closes the session: its goal is met.", crisis: "The session ended in a hand-over to others.", rupture: "The patient broke the session off." };
  const ended = held.done ? why[held.ending] || (held.failed ? "The patient gave no answer." : "The turns are used up.") : left.has(held.id) ? "You ended the session. Its turns can still be rated, branched and saved." : "";
  const over = held.id ? ended : `A session file, to look at. ${ended}`.trim();
  at("over").textContent = over;
  at("say").hidden = !held.id;
  lock();
  if (held.id) history.replaceState(null, "", `#${new URLSearchParams({ ...(token && { token }), session: held.id })}`);
}

// Items that stay are left alone, so that focus stays, and what is read aloud is only what is new.
function drawLog() {
  const log = at("log"), before = log.children.length;
  held.messages.forEach((message, i) => {
    const ours = message.speaker === "therapist", turn = (i - 1) / 2;
    const who = ours ? (held.by ? held.by[turn] : held.policy || "therapist") : held.patient.name;
    const key = JSON.stringify([held.id || "", held.branch || 0, who, message.text]);
    let item = log.children[i];
    if (!item || item.key !== key) {
      const made = make("li", { class: ours ? "us" : "them" }, make("span", { class: "who" }, who === "a person" ? "You" : who), message.text || "(silence)");
      made.key = key;
      if (ours && held.id) made.append(rating(turn));
      if (item) item.replaceWith(made); else log.append(made);
      item = made;
    }
    if (ours) drawOwn(item, turn);
  });
  while (log.children.length > held.messages.length) log.lastChild.remove();
  if (log.children.length > before) log.scrollTop = log.scrollHeight;
}

function drawOwn(item, turn) {
  item.querySelectorAll("small, .unsafe").forEach((told) => told.remove());
  item.querySelector(".who").append(...reward(turn));
  if (!held.id) return;
  const given = (held.ratings[turn] || {})[at("rater").value] || { rating: "", why: "" };
  for (const button of item.querySelectorAll(".rate button[data-value]")) button.setAttribute("aria-pressed", String(button.dataset.value === given.rating));
  const why = item.querySelector(".rate input");
  if (document.activeElement !== why) why.value = drafts.get(item.key) ?? given.why;
}

function reward(turn) {
  const own = held.turns[turn];
  if (!own || !at("show").checked) return [];
  const bad = own.violations.length ? [make("span", { class: "unsafe" }, ` unsafe: ${own.violations.join(", ").replaceAll("_", " ")}`)] : [];
  return [make("small", {}, ` reward ${signed(own.reward)}`), ...bad];
}

function rating(turn) {
  const why = make("input", { maxlength: "2000", placeholder: "why", "aria-label": `why turn ${turn + 1} is so` });
  const key = () => why.closest("li").key;
  const give = (value) => {
    const body = { turn, rating: value, why: why.value, rater: at("rater").value }, place = key();
    change("/rate", body).then(() => { if (at("error").hidden) drafts.delete(place); });
  };
  why.addEventListener("input", () => drafts.set(key(), why.value));
  why.addEventListener("change", () => {
    const given = (held.ratings[turn] || {})[at("rater").value];
    if (given) give(given.rating);
  });
  const buttons = ["good", "neutral", "harmful"].map((value) =>
    make("button", { type: "button", "data-value": value, "aria-pressed": "false", "aria-label": `turn ${turn + 1} is ${value}`, onclick: () => give(value) }, value));
  const fork = make("button", { type: "button", "aria-label": `other words in place of turn ${turn + 1}`, onclick: () => change("/branch", { turns: turn }) }, "Other words here");
  return make("div", { class: "rate" }, ...buttons, why, fork);
}

function drawBranches() {
  const names = (held.branches || []).map((turns, i) => {
    const choice = make("option", { value: String(i) }, `${i + 1}: ${turns} turn${turns === 1 ? "" : "s"}`);
    choice.selected = i === held.branch;
    return choice;
  });
  at("branch").replaceChildren(...names);
}

function drawMoved() {
  at("shown").hidden = !at("show").checked;
  const lines = [...held.dimensions.map((name, i) => ({ name, values: held.mood.map((row) => row[i]) })), { name: "alliance", values: held.alliance }];
  at("mood").replaceChildren(chart(lines));
  at("reward").replaceChildren(bars(held.turns.map((turn) => turn.reward)));
  const rows = held.turns.map((turn, i) => {
    const terms = Object.entries(turn.terms).slice(0, 8).map(([name, value]) => `${name.replaceAll("_", " ")} ${signed(value)}`).join(", ");
    const read = [...turn.acts, ...turn.flags].join(", ").replaceAll("_", " ");
    const bad = turn.violations.length ? [make("span", { class: "unsafe" }, ` unsafe: ${turn.violations.join(", ").replaceAll("_", " ")}`)] : [];
    return make("tr", {}, make("th", { scope: "row" }, String(i + 1)), make("td", { class: turn.reward < 0 ? "down" : "up" }, signed(turn.reward)), make("td", {}, terms || "none"), make("td", {}, read, ...bad));
  });
  at("terms").replaceChildren(...rows.reverse());
}

const signed = (value) => (value === null ? "none" : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2));
function svg(tag, own, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(own)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const WIDE = 420, HIGH = 190, LEFT = 30, RIGHT = 104;
function frame(label) {
  const drawn = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
  drawn.append(svg("line", { class: "axis", x1: LEFT, x2: WIDE - RIGHT, y1: HIGH / 2, y2: HIGH / 2 }), svg("line", { class: "axis", x1: LEFT, x2: LEFT, y1: 10, y2: HIGH - 10 }));
  return drawn;
}

function chart(lines) {
  const most = Math.max(1, lines[0].values.length - 1);
  const x = (i) => LEFT + (i / most) * (WIDE - LEFT - RIGHT), y = (v) => HIGH / 2 - v * (HIGH / 2 - 12);
  const last = lines.map((line) => `${line.name} ${signed(line.values[line.values.length - 1])}`).join(", ");
  const drawn = frame(`From -1 to 1; now ${last}`);
  for (const value of [-1, 0, 1]) drawn.append(svg("text", { x: 4, y: y(value) + 4 }, String(value)));
  const places = lines.map((line, k) => ({ k, line, y: y(line.values[line.values.length - 1]) })).sort((a, b) => a.y - b.y);
  places.forEach((place, i) => { if (i && place.y - places[i - 1].y < 13) place.y = places[i - 1].y + 13; });
  lines.forEach((line, k) => {
    const dash = ["", "6 3", "2 3", "8 3 2 3", ""][k];
    drawn.append(svg("polyline", { points: line.values.map((v, i) => `${x(i)},${y(v)}`).join(" "), class: `line c${k}`, "stroke-dasharray": dash }));
  });
  for (const { k, line, y: place } of places) drawn.append(svg("text", { x: WIDE - RIGHT + 6, y: place + 4, class: `name c${k}` }, line.name));
  return drawn;
}

function bars(values) {
  const most = Math.max(1, ...values.map((v) => Math.abs(v || 0))), step = (WIDE - LEFT - RIGHT) / Math.max(8, values.length);
  const drawn = frame(values.length ? `Rewards: ${values.map(signed).join(", ")}` : "No turn yet");
  for (const value of [-most, most]) drawn.append(svg("text", { x: 2, y: HIGH / 2 - (value / most) * (HIGH / 2 - 12) + 4 }, value.toFixed(1)));
  values.forEach((value, i) => {
    const high = (Math.abs(value || 0) / most) * (HIGH / 2 - 12);
    drawn.append(svg("rect", { x: LEFT + i * step + 2, y: value < 0 ? HIGH / 2 : HIGH / 2 - high, width: Math.max(1, step - 4), height: high, class: value < 0 ? "loss" : "gain" }));
  });
  return drawn;
}

function about(patients) {
  const own = patients.find((patient) => patient.id === at("patient").value);
  at("about").textContent = own ? `${own.name}, ${own.age}, ${own.pronouns}, ${own.occupation}; ${own.diagnosis}${own.diagnosis.includes(own.severity) ? "" : `, ${own.severity}`}.` : "";
}

at("begin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  doing(async () => { draw(await ask("/api/sessions", { patient: at("patient").value, seed: Number(at("seed").value) })); at("words").disabled = false; at("words").focus(); });
});
at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("words").value;
  doing(async () => { draw(await ask(one("/say"), { text, seen: seen() })); at("words").value = ""; }).then(() => at("words").focus());
});
at("words").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); at("say").requestSubmit(); }
});
at("suggest").addEventListener("click", () => doing(async () => { at("words").value = (await ask(one("/suggest"), { policy: at("policy").value, seen: seen() })).text; }).then(() => at("words").focus()));
at("speak").addEventListener("click", () => change("/say", { policy: at("policy").value }));
at("undo").addEventListener("click", () => change("/undo", {}));
at("branch").addEventListener("change", () => change("/choose", { branch: Number(at("branch").value) }));
at("end").addEventListener("click", () => { left.add(held.id); draw(held); });
at("show").addEventListener("change", () => held && (drawLog(), drawMoved()));
at("rater").addEventListener("input", () => held && drawLog());
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); at("words").focus(); });
addEventListener("hashchange", () => { if ((new URLSearchParams(location.hash.slice(1)).get("token") || "") !== token) location.reload(); });
at("save").addEventListener("click", () => doing(async () => {
  const kept = await ask(one("/file"));
  const link = make("a", { download: `${held.patient.id}-${held.seed}.json`, href: URL.createObjectURL(new Blob([JSON.stringify(kept, null, 1)], { type: "application/json" })) });
  document.body.append(link);
  link.click();
  link.remove();
}));
at("look").addEventListener("change", () => doing(async () => {
  const file = at("look").files[0];
  if (!file) return;
  let content;
  try { content = JSON.parse(await file.text()); } catch { throw new Error(`${file.name} is no JSON; choose a session file, as "Save the session file" or bench --sessions writes it.`); }
  draw(await ask("/api/look", content));
}));

doing(async () => {
  const told = await ask("/api/start");
  at("patient").replaceChildren(...told.patients.map((patient) => make("option", { value: patient.id }, `${patient.name}, ${patient.age}, ${patient.diagnosis}`)));
  at("policy").replaceChildren(...told.policies.map((name) => make("option", { value: name }, name)));
  at("patient").addEventListener("change", () => about(told.patients));
  about(told.patients);
  const before = new URLSearchParams(location.hash.slice(1)).get("session");
  if (before) {
    held = { id: before, turns: [] };
    try { draw(await ask(one(""))); } catch (error) { held = null; at("table").hidden = true; throw error; }
  }
});
