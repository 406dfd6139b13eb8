"use strict";
(() => {
  const PAGE = 40;
  const LONG = 800;
  const AXES = ["I", "T", "A", "S"];
  const ENDINGS = { goal: "goal met", rupture: "walked out", crisis: "hand-over", "": "turn limit", failed: "patient failed" };
  const section = document.getElementById("sessions");
  const form = document.querySelector(".filters");
  const list = document.querySelector(".list");
  const more = document.querySelector(".more");
  const count = document.querySelector(".count");

  // What was said is hostile: it enters the page here alone, as text.
  function make(tag, css, text) {
    const made = document.createElement(tag);
    if (css) made.className = css;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function number(value, digits = 2) {
    if (typeof value !== "number") return "–";
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }

  // Tables

  function before(a, b, way) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return way * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y);
  }

  function sort(head) {
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const rows = [...table.tBodies[0].rows];
    const key = (row) => row.cells[column].dataset.sort;
    const text = rows.some((row) => key(row) !== "" && Number.isNaN(Number(key(row))));
    const now = head.getAttribute("aria-sort");
    const up = now ? now === "descending" : text;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.sort((a, b) => before(key(a), key(b), up ? 1 : -1));
    table.tBodies[0].append(...rows);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest(".sort");
    if (button) sort(button.closest("th"));
  });

  // Which simulator is shown

  function show(simulator) {
    for (const panel of document.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== simulator;
  }

  const radios = [...document.querySelectorAll(".switch input")];
  for (const radio of radios) {
    radio.addEventListener("change", async () => {
      show(radio.value);
      await ready;
      form.elements.simulator.value = `:${radio.value}`;
      refresh();
    });
  }
  const chosen = radios.find((radio) => radio.checked);
  if (chosen) show(chosen.value);

  // Sessions

  let sessions = [];

  async function unpack() {
    const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  async function begin() {
    try {
      sessions = await unpack();
      Object.keys(fields).forEach(fill);
      if (chosen) form.elements.simulator.value = `:${chosen.value}`;
      refresh();
    } catch (error) {
      form.hidden = true;
      count.textContent = `This browser cannot unpack the sessions (${error.message}): it takes Chrome or Edge 80, Firefox 113, ` +
        "Safari 16.4, or a newer one. The tables above are whole; the results files that the report was made of hold the sessions too.";
    }
    section.setAttribute("aria-busy", "false");
  }

  const endingOf = (session) => (session.failed ? "failed" : session.ending);
  const fields = { policy: (s) => s.policy, simulator: (s) => s.simulator, persona: (s) => s.persona, seed: (s) => s.seed, ending: endingOf };
  const ANY = "any"; // as the value "=any": no field's own value begins with "="

  function fill(name) {
    const values = [...new Set(sessions.map(fields[name]))];
    if (name === "seed") values.sort((a, b) => a - b);
    if (name === "persona") values.sort();
    const options = values.map((value) => {
      const option = make("option", "", name === "ending" ? ENDINGS[value] ?? value : String(value));
      option.value = `:${value}`;
      return option;
    });
    const all = make("option", "", ANY);
    all.value = "=any";
    form.elements[name].append(all, ...options);
  }

  function matching() {
    const held = sessions.filter((session) => {
      const fits = ([name, read]) => [`:${read(session)}`, "=any"].includes(form.elements[name].value);
      return Object.entries(fields).every(fits) && (!form.elements.unsafe.checked || unsafe(session) > 0);
    });
    const way = form.elements.order.value === "low" ? 1 : -1;
    const total = (session) => session.measures.total ?? null;
    return held.sort((a, b) => (total(a) === null) - (total(b) === null) || way * (total(a) - total(b)));
  }

  const unsafe = (session) => session.turns.filter((turn) => turn.violations.length).length;
  let found = [];
  let shown = 0;

  function refresh() {
    found = matching();
    shown = 0;
    list.replaceChildren();
    count.textContent = `${found.length} of ${sessions.length} sessions`;
    extend();
  }

  function extend() {
    list.append(...found.slice(shown, shown + PAGE).map(row));
    shown = Math.min(shown + PAGE, found.length);
    more.hidden = shown >= found.length;
    more.textContent = `Show ${Math.min(PAGE, found.length - shown)} more of ${found.length - shown}`;
  }

  function row(session) {
    const box = make("details", "session");
    const head = make("summary");
    const bad = unsafe(session);
    const about = [session.diagnosis, session.severity, `seed ${session.seed}`, session.simulator, `${session.turns.length} turns`,
      ENDINGS[endingOf(session)] ?? session.ending, bad ? `${bad} unsafe` : ""];
    head.append(make("span", "amount", number(session.measures.total)), make("span", "who", `${session.policy} with ${session.persona}`),
      make("span", "about", about.filter(Boolean).join(" · ")));
    box.append(head);
    box.addEventListener("toggle", () => { if (box.open && !box.querySelector(".talk")) box.append(talk(session)); });
    return box;
  }

  function talk(session) {
    const box = make("div", "talk");
    const turns = make("ol");
    turns.append(...session.turns.map(turnOf));
    box.append(said("patient", session.opening), facts([["mood", mood(session.affect)], ["fell most", session.weakest], ["failed", session.failure, "bad"]]), turns, numbers(session));
    return box;
  }

  const mood = (affect) => affect.map((value, i) => `${AXES[i] ?? i} ${number(value)}`).join("  ");

  function turnOf(turn, i) {
    const item = make("li", "turn");
    item.append(said("therapist", turn.therapist, `turn ${i + 1}`));
    if (turn.shown) item.append(said("therapist", turn.shown, "as the patient was shown it"));
    item.append(said("patient", turn.patient), facts([
      ["reward", number(turn.reward)], ["mood", mood(turn.affect)], ["alliance", number(turn.alliance)], ["move", turn.move],
      ["acts", turn.acts.join(", ")], ["told", turn.disclosed.join(", ")], ["worded by", turn.source], ["refused draws", turn.rejected.join(", ")],
      ["flags", turn.flags.join(", "), "bad"], ["violations", turn.violations.join(", "), "bad"],
    ]));
    return item;
  }

  function said(speaker, words, note = "") {
    const box = make("div", `said ${speaker}`);
    const text = make("span", words ? "words" : "empty", words || "(nothing)");
    text.dir = "auto";
    if (words.length > LONG) {
      text.tabIndex = 0; // it scrolls in a box of its own
      text.setAttribute("role", "group");
      text.setAttribute("aria-label", `all that the ${speaker} said`);
    }
    box.append(make("span", "speaker", [speaker, note].filter(Boolean).join(", ")), text);
    return box;
  }

  function facts(pairs) {
    const box = make("p", "facts");
    for (const [name, value, css] of pairs) {
      if (!value) continue;
      const item = make("span", css, `${name} `);
      item.append(make("b", "", value));
      box.append(item);
    }
    return box;
  }

  function numbers(session) {
    const box = make("details", "numbers");
    const who = `${session.policy} with ${session.persona} (${session.simulator}), seed ${session.seed}`;
    box.append(make("summary", "", "All its measures and terms"), values("Measures", who, session.measures), values("Terms", who, session.terms));
    return box;
  }

  function values(kind, who, held) {
    const table = make("table");
    table.createCaption().textContent = `${kind} of ${who}`;
    table.createTHead().insertRow().append(headOf("col", kind.slice(0, -1).toLowerCase()), headOf("col", "value"));
    const body = table.createTBody();
    for (const [name, value] of Object.entries(held)) {
      body.insertRow().append(headOf("row", name.replaceAll("_", " ")), make("td", "number", number(value, 3)));
    }
    return table;
  }

  function headOf(scope, text) {
    const head = make("th", "", text);
    head.scope = scope;
    return head;
  }

  form.addEventListener("change", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", extend);
  const ready = begin();

  // A policy's name, or its row, leads to its sessions.

  async function follow(link) {
    await ready;
    for (const name of Object.keys(fields)) form.elements[name].value = "=any";
    form.elements.unsafe.checked = false;
    form.elements.policy.value = `:${link.dataset.policy}`;
    form.elements.simulator.value = `:${link.dataset.simulator}`;
    refresh();
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-policy]") ?? event.target.closest(".sortable tbody tr")?.querySelector("a[data-policy]");
    if (!link) return;
    event.preventDefault();
    follow(link);
  });
})();
