/* One individual: in short beside the pointer, in full in the panel. */

const NET_AND_SOLVER = ["train_test.prototxt", "solver.prototxt"];

const OF_ROLE = {
  default: "Default",
  test: "Best on the test set",
  yardstick: "Yardstick, the default trained on the validation images as well, on the test set",
};

function textOf(columns, row) {
  return columns.map((column) => `${column.name} ${column.text(row)}`).join(", ");
}

function outcome(run, row) {
  const fitness = run.had(row);
  if (run.isFailed(row)) return `${run.statuses[run.status[row]]}: ${run.reasons[run.reason[row]]}`;
  const loss = run.loss[row] === null || run.measure === "loss" ? "" : `, loss ${fixed(run.loss[row])}`;
  return `${run.isStopped(row) ? `${run.state(row)} iterations: ` : ""}${run.measure} ${run.text(fitness)}${loss}`;
}

function titleOf(run, row) {
  const role = Object.keys(run.role).find((name) => run.role[name] === row);
  if (role) return `${OF_ROLE[role]} (${run.id[row]})`;
  if (!run.individual[row] && run.isStopped(row)) return `Trial ${run.id[row]} of an individual that went on`;
  if (!run.individual[row]) return `Best of an earlier end of the search, on the test set (${run.id[row]})`;
  return `Individual ${run.id[row]}${run.stage === "generation" ? `, generation ${run.generation[row]}` : ""}`;
}

function filesOf(run, row) {
  const kept = run.files[run.same[row] ?? run.id[row]];
  return kept ? { folder: `${run.folder}/trials/${run.same[row] ?? run.id[row]}`, ...kept } : null;
}

/* Texts of net and solver by name: the files that were kept, else as the templates render them, if they can be had. */
function textsOf(run, row) {
  const kept = filesOf(run, row);
  if (kept && Object.keys(kept.texts).length) return kept.texts;
  const changes = run.rendered.of[run.same[row] ?? run.id[row]] || [];
  return Object.fromEntries(
    changes.map(([size, ...changed], i) => {
      const lines = [...run.rendered.bases[i][size]];
      for (const [place, line] of changed) lines[place] = line;
      return [NET_AND_SOLVER[i], lines.join("\n")];
    }),
  );
}

/* For the hint: genes, fitness, loss, curve and files. */
function described(run, row) {
  const files = filesOf(run, row);
  const parts = [
    element("strong", {}, titleOf(run, row)),
    element("div", {}, shortened(outcome(run, row), 160)),
    element("div", {}, textOf(run.axes.slice(1, -1), row)),
    ...(run.measured.length ? [element("div", {}, textOf(run.measured, row))] : []),
    element("div", {}, files ? `files: ${files.folder}` : "files: not kept; click for net and solver"),
  ];
  const curve = run.curve[row];
  return curve === null ? parts : [...parts, spark(run.curves.value[curve])];
}

/* A learning curve, small. */
function spark(values) {
  const range = span(values);
  if (values.length < 2 || !range) return "";
  const scale = linearScale(...range);
  const points = values.map((value, k) =>
    value === null ? "" : `${4 + (k * 150) / (values.length - 1)},${36 - 32 * scale.at(value)}`,
  );
  return svg(
    "svg",
    { width: 260, height: 40, "aria-hidden": "true" },
    svg("polyline", { points: points.join(" "), fill: "none", stroke: ink.plain, "stroke-width": 2 }),
    svg("text", { x: 162, y: 15, "font-size": 11 }, `to ${fixed(range[1])}`),
    svg("text", { x: 162, y: 34, "font-size": 11 }, `from ${fixed(range[0])}`),
  );
}

function panel(run) {
  const host = document.getElementById("panel");
  let opener = null;

  function close() {
    host.hidden = true;
    run.shown = null;
    run.changed();
    if (opener) opener.focus({ preventScroll: true });
    opener = null;
  }

  run.hide = () => host.hidden || close();
  run.show = (row) => {
    run.shown = row;
    run.changed();
    if (host.hidden) opener = document.activeElement;
    host.hidden = false;
    host.scrollTop = 0;
    const title = element("h2", { id: "panel-title", tabindex: "-1" }, titleOf(run, row));
    host.replaceChildren(
      element("button", { type: "button", class: "close", on: { click: close } }, "close"),
      title,
      element("p", {}, outcome(run, row), " ", copyButton()),
      factsOf(run, row),
    );
    if (run.curve[row] !== null) host.append(...curveOf(run, row));
    host.append(...filesShown(run, row));
    title.focus({ preventScroll: true });
    hint(null);
  };
  document.addEventListener("keydown", (event) => event.key === "Escape" && !host.hidden && close());
  for (const button of document.querySelectorAll("[data-show]")) {
    const row = run.rowOf(Number(button.dataset.show));
    if (row !== undefined) button.onclick = () => run.show(row);
    else button.disabled = true;
  }
}

function factsOf(run, row) {
  const same = run.same[row];
  const facts = [
    ["status", run.state(row)],
    ...[...run.axes.slice(1, -1), ...run.measured].map((column) => [column.name, column.text(row)]),
    ...descentOf(run, row),
    ...((run.learned || [])[row] ? [["decays", run.learned[row]]] : []),
    ["seed", run.seed[row]],
    ["rank", run.rank[row]],
    ["host", run.hosts[run.host[row]]],
    [
      "training",
      same === null
        ? duration(run.seconds[row] || 0)
        : `none: the same individual as ${same}, whose result this is`,
    ],
    ["came", `${duration(run.time[row])} into the run`],
  ];
  return element(
    "table",
    { class: "facts" },
    element(
      "tbody",
      {},
      ...facts.map(([name, text]) =>
        element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, String(text))),
      ),
    ),
  );
}

/* Of a step of a descent, which one it is, and its gradient. */
function descentOf(run, row) {
  for (const { number, steps } of run.descents || []) {
    const place = steps.findIndex((step) => step.id === run.id[row]);
    if (place >= 0)
      return [
        ["descent", `${number}, step ${place + 1}`],
        ["gradient", steps[place].gradient],
      ];
  }
  return [];
}

/* What was measured by iteration: a plot, and the same as a table. */
function curveOf(run, row) {
  const at = run.curve[row],
    iterations = run.curves.iterations[run.curves.grid[at]];
  const [shown, loss] = [run.curves.value[at], run.curves.loss[at]];
  const names = [...new Set([run.curve_measure, "loss"])];
  const figure = element("figure", { "aria-label": "Learning curve" });
  requestAnimationFrame(() => {
    const view = plot(figure, {
      height: 220,
      x: { scale: wholeScale(0, iterations[iterations.length - 1]), label: "iteration" },
      y: { scale: linearScale(...(span(shown) || [0, 1])), label: run.curve_label },
    });
    const points = shown.map((value, k) => (value === null ? null : [view.x(iterations[k]), view.y(value)]));
    stroke(view.context, points, { colour: ink.plain, width: 2 });
    for (const point of points)
      if (point) view.svg.append(svg("circle", { cx: point[0], cy: point[1], r: 3, fill: ink.plain }));
  });
  const cells = (...texts) => element("tr", {}, ...texts.map((text) => element("td", {}, text)));
  const numbers = element(
    "table",
    { class: "numbers" },
    element(
      "thead",
      {},
      element("tr", {}, ...["iteration", ...names].map((name) => element("th", { scope: "col" }, name))),
    ),
    element(
      "tbody",
      {},
      ...iterations.map((iteration, k) =>
        cells(iteration.toLocaleString("en"), ...[fixed(shown[k]), fixed(loss[k])].slice(-names.length)),
      ),
    ),
  );
  return [
    element("h3", {}, "Learning curve"),
    figure,
    element("details", {}, element("summary", {}, "as numbers"), numbers),
  ];
}

/* Net and solver, and where the files are or which command writes them. */
function filesShown(run, row) {
  const files = filesOf(run, row),
    texts = textsOf(run, row);
  const shown = [element("h3", {}, "Net and solver")];
  if (files) shown.push(element("p", {}, `${files.folder}: ${files.names.join(", ") || "empty"}`));
  for (const name of NET_AND_SOLVER.filter((name) => name in texts)) {
    const open = name === NET_AND_SOLVER[0] ? "" : null;
    shown.push(element("details", { open }, element("summary", {}, name), element("pre", {}, texts[name])));
  }
  if (!files || !Object.keys(texts).length)
    shown.push(
      element("p", {}, "The files were not kept. This command writes them:"),
      element("pre", { class: "command" }, renderCommand(run, row)),
    );
  return shown;
}

function renderCommand(run, row) {
  const genes = run.genes
    .map((gene, i) => [gene, run.values[i][row]])
    .filter(([gene, value]) => value !== null && value !== gene.default)
    .map(([gene, value]) => `--set ${quoted(`${gene.name}=${gene.choices ? gene.choices[value] : value}`)}`);
  return [run.render, ...genes, `--out individual-${run.id[row]}`].join(" ");
}

/* A word of a shell's command line. */
function quoted(word) {
  return /^[\w.,:=@%+/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
