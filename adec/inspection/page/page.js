"use strict";
// Everything from the trace reaches the page through textContent: nothing in it can become markup.
(() => {
  const data = JSON.parse(document.getElementById("trace").textContent);
  const [ID, MARK, SOURCE, HOW, ENTROPY, MARGIN, PROBABILITY, TEXT, STEP] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const HEIGHT = 120;
  const tokens = data.tokens;
  const steps = data.steps;
  const chart = document.getElementById("chart");
  const text = document.getElementById("text");
  const detail = document.getElementById("detail");
  const spans = [];
  let chosen = -1;

  function make(tag, className, content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (content !== undefined) element.textContent = content;
    return element;
  }

  function draw(tag, attributes, parent) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    parent.append(element);
    return element;
  }

  const known = (value) => typeof value === "number" && Number.isFinite(value);
  const digits = (value) => (known(value) ? String(Number(value.toPrecision(4))) : value === null ? "not recorded" : String(value));

  // The text: a span a token.
  function fillText() {
    const all = document.createDocumentFragment();
    tokens.forEach((token, index) => {
      const span = make("span", data.marks[token[MARK]], token[TEXT] || "·");
      if (!token[TEXT]) span.classList.add("empty");
      const depth = steps[token[STEP]].depth;
      if (depth) span.classList.add("deep", `deep${Math.min(9, Math.floor((10 * (depth[0] - 1)) / depth[1]))}`);
      span.dataset.token = index;
      spans.push(span);
      all.append(span);
    });
    text.append(all);
    const used = new Set(tokens.map((token) => token[MARK]));
    const legend = document.getElementById("legend");
    for (const mark of [...used].sort((one, other) => one - other)) legend.append(make("span", data.marks[mark], data.labels[mark]));
    if (tokens.some((token) => steps[token[STEP]].depth)) {
      legend.append(make("span", "deep deep0", "left at a low layer"), make("span", "deep deep9", "ran through all"));
    }
  }

  // The chart: two paths of bars, the threshold, a cursor.
  const wide = Math.max(2, Math.min(12, Math.floor(1000 / Math.max(1, tokens.length))));
  let cursor = null;
  function fillChart() {
    let top = 0.1;
    const threshold = (token) => steps[token[STEP]].threshold;
    for (const token of tokens)
      for (const value of [token[ENTROPY], threshold(token)]) if (known(value)) top = Math.max(top, value);
    top *= 1.05;
    const y = (value) => (HEIGHT * (1 - Math.max(0, Math.min(value, top)) / top)).toFixed(1);
    const width = Math.max(1, tokens.length * wide);
    const svg = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" }, chart);
    // a box of its own above the bars: thousands of them are not painted again for each token that is pointed at
    cursor = make("div");
    cursor.id = "cursor";
    cursor.style.width = `${wide}px`;
    cursor.style.transform = `translateX(${-wide}px)`;
    chart.append(cursor);
    const bars = { below: "", above: "" };
    let line = "";
    let drawing = false;
    tokens.forEach((token, index) => {
      const limit = threshold(token);
      const x = index * wide;
      if (known(token[ENTROPY])) {
        const where = known(limit) && token[ENTROPY] > limit ? "above" : "below";
        bars[where] += `M${x + wide / 2} ${HEIGHT}V${y(token[ENTROPY])}`;
      }
      if (known(limit)) line += `${drawing ? "L" : "M"}${x} ${y(limit)}H${x + wide}`;
      drawing = known(limit);
    });
    for (const name of ["below", "above"])
      draw("path", { class: name, d: bars[name], "stroke-width": Math.max(1, wide - 1) }, svg);
    draw("path", { class: "threshold", d: line }, svg);
  }

  // What is known of the token that was pointed at.
  function choose(index) {
    if (index === chosen || !(index >= 0 && index < tokens.length)) return;
    if (chosen >= 0) spans[chosen].classList.remove("picked");
    chosen = index;
    spans[index].classList.add("picked");
    cursor.style.transform = `translateX(${index * wide}px)`;
    const token = tokens[index];
    const step = steps[token[STEP]];
    const facts = [
      ["token", `${index + 1} of ${tokens.length}`], ["text", JSON.stringify(token[TEXT])], ["id", String(token[ID])],
      ["source", data.sources[token[SOURCE]]], ["how", token[HOW]], ["entropy", `${digits(token[ENTROPY])} nats`],
      ["margin", digits(token[MARGIN])], ["probability", digits(token[PROBABILITY])],
      ["step", `${step.number} (${step.kind})`],
    ];
    if (step.value !== null) facts.push(["rule looked at", `${digits(step.value)}, threshold ${digits(step.threshold)}`]);
    if (step.depth) {
      const sure = step.depth[2] === null ? "" : `, ${digits(step.depth[2])} sure`;
      facts.push(["depth", `layer ${step.depth[0]} of ${step.depth[1]}${sure}`]);
    }
    if (step.reason !== null) facts.push(["reason", step.reason]);
    if (step.drafted) facts.push(["drafts", `${step.drafted}, of which ${step.accepted} stand`]);
    (step.pause ? step.pause.candidates : []).forEach((candidate, place) =>
      facts.push([
        place === step.pause.winner ? "paused: winner" : "paused: other",
        `${JSON.stringify(candidate.text)} score ${digits(candidate.score)}, probability ${digits(candidate.probability)}`,
      ]));
    const list = make("dl");
    for (const [name, value] of facts) {
      const row = make("div");
      row.append(make("dt", "", name), make("dd", "", value));
      list.append(row);
    }
    detail.replaceChildren(list);
  }

  // Trees: built when a round is opened, folded node by node.
  function fillTrees() {
    const all = document.createDocumentFragment();
    steps.forEach((step, index) => {
      if (!step.tree) return;
      const round = make("details", "round");
      round.dataset.step = index;
      round.append(make("summary", "", `step ${step.number}: ${step.accepted} of ${step.drafted} drafts stand`));
      round.addEventListener("toggle", () => {
        if (round.open && round.childElementCount === 1) round.append(treeOf(step.tree));
      });
      all.append(round);
    });
    if (all.childElementCount === 0) document.getElementById("rounds").hidden = true;
    document.getElementById("trees").append(all);
  }

  function treeOf(tree) {
    const box = make("div");
    const stood = new Set(tree.accepted);
    const depth = [];
    const lines = [];
    // depth first, so that what a node folds lies right under it
    const children = new Map();
    tree.parents.forEach((parent, node) => {
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(node);
    });
    const waiting = [...(children.get(-1) || [])].reverse();
    while (waiting.length) {
      const node = waiting.pop();
      depth[node] = tree.parents[node] < 0 ? 0 : depth[tree.parents[node]] + 1;
      const line = make("div", `node ${stood.has(node) ? "stood" : "fell"}`);
      line.style.paddingLeft = `${1.4 * depth[node]}em`;
      line.dataset.depth = depth[node];
      const chance = tree.probabilities[node];
      if (children.has(node)) {
        const button = make("button", "", "▾");
        button.setAttribute("aria-expanded", "true");
        line.append(button);
      } else line.append(make("span", "blank"));
      line.append(`${stood.has(node) ? "✓" : "✗"} ${JSON.stringify(tree.texts[node])}${known(chance) ? ` ${digits(chance)}` : ""}`);
      lines.push(line);
      for (const child of [...(children.get(node) || [])].reverse()) waiting.push(child);
    }
    box.append(...lines);
    box.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) fold(button);
    });
    return box;
  }

  function fold(button) {
    const line = button.parentElement;
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "▾" : "▸";
    const level = Number(line.dataset.depth);
    let hiddenBelow = Infinity;
    for (let next = line.nextElementSibling; next && Number(next.dataset.depth) > level; next = next.nextElementSibling) {
      const depth = Number(next.dataset.depth);
      if (depth <= hiddenBelow) hiddenBelow = Infinity;
      next.hidden = !open || depth > hiddenBelow;
      const inner = next.querySelector("button");
      // what was folded inside stays folded
      if (open && !next.hidden && inner && inner.getAttribute("aria-expanded") === "false") hiddenBelow = depth;
    }
  }

  // The canvas: the slider says after how many steps; every state is drawn from the records anew.
  function fillCanvas() {
    const fills = data.fills || [];
    if (fills.length === 0) return;
    const [PLACE, WORD, CHANCE] = [0, 1, 2];
    const WAVES = 5;
    const PAUSE_MS = 250;
    const box = document.getElementById("filling");
    const slider = document.getElementById("slider");
    const play = document.getElementById("play");
    let timer = null;
    document.getElementById("canvas").hidden = false;
    slider.max = String(fills.length);

    function show(count) {
      const last = fills[Math.max(0, count - 1)];
      const words = new Map();
      fills.slice(0, count).forEach((fill, at) => {
        for (const entry of fill.filled) words.set(entry[PLACE], { entry, at });
      });
      const all = document.createDocumentFragment();
      const length = count === 0 ? fills[0].length : last.length;
      for (let place = 0; place < length; place++) {
        const found = words.get(place);
        const span = make("span", found ? `wave${found.at % WAVES}` : "mask", found ? found.entry[WORD] || "\u2423" : "·");
        if (found && found.at === count - 1) span.classList.add("fresh");
        if (found) span.title = `position ${place + 1}, step ${fills[found.at].number}, probability ${digits(found.entry[CHANCE])}`;
        all.append(span);
      }
      box.replaceChildren(all);
      const facts = [`${count} of ${fills.length} steps`];
      if (count > 0) {
        facts.push(`${last.filled.length} filled`, `${last.masked} of ${last.length} masked`);
        if (known(last.nats)) facts.push(`${digits(last.nats)} nats left in the block`);
        if (last.reused) facts.push(`${last.reused} positions reused`);
      }
      document.getElementById("moment").textContent = facts.join(" · ");
    }

    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "play";
    }

    function advance() {
      if (Number(slider.value) >= fills.length) return stop();
      slider.value = String(Number(slider.value) + 1);
      show(Number(slider.value));
    }

    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      if (Number(slider.value) >= fills.length) slider.value = "0";
      show(Number(slider.value));
      play.textContent = "pause";
      timer = setInterval(advance, PAUSE_MS);
    });
    slider.addEventListener("input", () => {
      stop();
      show(Number(slider.value));
    });
    slider.value = slider.max;
    show(fills.length);
  }

  const pointedAt = (event) => {
    const span = event.target.closest("[data-token]");
    if (span) choose(Number(span.dataset.token));
  };
  text.addEventListener("mouseover", pointedAt);
  text.addEventListener("click", pointedAt);
  const onChart = (event) => choose(Math.floor((event.clientX - chart.firstElementChild.getBoundingClientRect().left) / wide));
  chart.addEventListener("mousemove", onChart);
  chart.addEventListener("click", onChart);
  document.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.target.id === "slider") return;
    if (move === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    choose(chosen + move);
    if (chosen >= 0) spans[chosen].scrollIntoView({ block: "nearest" });
    event.preventDefault();
  });

  fillText();
  fillChart();
  fillTrees();
  fillCanvas();
})();
