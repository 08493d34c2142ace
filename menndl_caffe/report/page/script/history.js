/* Every individual's fitness over evaluations, generations or time, the best so far as a line, the default dashed. */

function history(run, chosen) {
  const figure = document.getElementById("history-plot");
  const order = new Map(run.rows.map((row, k) => [row, k + 1]));
  const last = run.rows.length ? run.rows[run.rows.length - 1] : null;
  const unit = timeUnit(last === null ? 0 : Math.max(...span(run.rows.map((row) => run.time[row]))));
  const kinds = {
    evaluations: { label: "individuals evaluated", of: (row) => order.get(row), whole: true, low: 0 },
    [run.stage]: { label: run.stage, of: (row) => run.generation[row], whole: true, spread: 0.7, margin: 0.5 },
    time: { label: `${unit.name} of training`, of: (row) => run.time[row] / unit.seconds, low: 0 },
  };
  const failed = run.rows.some(run.isFailed),
    stopped = run.rows.filter(run.isStopped);
  let kind = kinds.evaluations,
    view;

  function scaleX() {
    const [low, high] = span(run.rows.map(kind.of)) || [0, 1];
    const margin = kind.margin || 0;
    return linearScale((kind.low ?? low) - margin, high + margin, kind.whole);
  }

  /* Room below for those that failed. */
  function scaleY() {
    const [low, high] = span([...(run.span || []), ...stopped.map(run.had)]) || [0, 1];
    const size = high - low || 0.1;
    const scale = linearScale(low - size * (failed ? 0.15 : 0.04), high + size * 0.05);
    const ticks = scale.ticks;
    return {
      ...scale,
      ticks: (most) => ticks(most).filter((tick) => tick > low - size * 0.05 && (tick >= 0 || low < 0)),
    };
  }

  function draw() {
    legend(document.getElementById("history-legend"), [
      { text: "an individual", colour: ink.plain, kind: "dot" },
      { text: "best so far", colour: ink.best },
      ...(run.default !== null && run.fitness[run.default] !== null
        ? [{ text: `default ${run.text(run.fitness[run.default])}`, colour: ink.default, dash: [6, 4] }]
        : []),
      ...earlyEntry(run),
      ...(failed ? [{ text: "failed", colour: ink.failure, kind: "dot" }] : []),
    ]);
    const y = scaleY();
    view = plot(figure, {
      height: 380,
      x: { scale: scaleX(), label: kind.label },
      y: { scale: y, label: run.label, least: failed ? 6 : 0 },
    });
    view.place = (row) => [
      view.x(kind.of(row) + (kind.spread || 0) * (((row * 0.618034) % 1) - 0.5)),
      run.isFailed(row) ? view.bottom - 8 : view.y(run.had(row)),
    ];
    if (failed)
      view.svg.append(
        svg("text", { class: "soft", x: view.left - 6, y: view.bottom - 4, "text-anchor": "end" }, "failed"),
      );
    paint();
    pointed(figure, run, (x, y) => nearestPoint(view, chosen.rows, x, y), view);
  }

  function paint() {
    const context = view.context;
    const many = run.rows.length > 2000;
    if (!chosen.isAll()) dots(context, view, run.rows, () => ink.pale, many ? 1.2 : 2.2, 1);
    early(view, chosen.rows.filter(run.isStopped), many);
    dots(
      context,
      view,
      chosen.rows.filter((row) => !run.isStopped(row)),
      (row) => (run.isFailed(row) ? ink.failure : ink.plain),
      many ? 1.5 : 3,
      many ? 0.5 : 0.75,
    );
    const base = run.default === null ? null : run.fitness[run.default];
    if (base !== null) level(view, base, { colour: ink.default, width: 1.5, dash: [6, 4] });
    stroke(context, steps(view), { colour: ink.best, width: 2 });
  }

  function steps({ x, y }) {
    const points = [];
    for (const row of run.records) {
      if (points.length) points.push([x(kind.of(row)), points[points.length - 1][1]]);
      points.push([x(kind.of(row)), y(run.fitness[row])]);
    }
    if (points.length) points.push([x(kind.of(last)), points[points.length - 1][1]]);
    return points;
  }

  chosen.onSettled(draw);
  choices(document.getElementById("history-options"), Object.keys(kinds), (name) => {
    kind = kinds[name];
    draw();
  });
  return {
    draw,
    points: () => run.rows.map((row) => [kind.of(row), run.had(row)]),
    best: () => run.records.map((row) => [kind.of(row), run.fitness[row]]),
  };
}

/* Radio buttons for these names; the first is chosen. */
function choices(fieldset, names, change) {
  names.forEach((name, i) => {
    const button = element("input", {
      type: "radio",
      name: fieldset.id,
      value: name,
      on: { change: () => change(name) },
    });
    button.checked = i === 0;
    fieldset.append(element("label", {}, button, ` ${name}`));
  });
}
