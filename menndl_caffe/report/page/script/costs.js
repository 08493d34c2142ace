/* The fitness against what a net costs: parameters, multiply-adds, time; with the individuals that are worth it. */

function costs(run, chosen) {
  const host = document.getElementById("costs-plots");
  if (!host) return { draw() {} };
  const columns = costColumns(run);
  const figures = columns.map((column) => element("figure", { "aria-label": `${run.measure} by ${column.label}` }));
  host.replaceChildren(...figures);

  function draw() {
    const scale = fitnessScale(run);
    legend(document.getElementById("costs-legend"), [
      { text: "an individual", colour: ink.plain, kind: "dot" },
      ...earlyEntry(run),
      { text: "none is better for less", colour: ink.best },
      ...(run.default === null ? [] : [{ text: "default", colour: ink.default, kind: "ring" }]),
      ...edgeEntry(run, scale),
    ]);
    columns.forEach((column, i) => drawCost(figures[i], column, scale));
  }

  function drawCost(figure, column, scale) {
    const view = scatter(figure, run, chosen, {
      height: 260,
      x: { ...column, scale: column.scale },
      y: { scale, label: run.label, of: run.had },
    });
    const points = worthIt(run, column).map(view.place);
    const path = points.flatMap((point, k) => (k ? [[point[0], points[k - 1][1]], point] : [point]));
    stroke(view.context, path, { colour: ink.best, width: 2 });
    for (const point of points) spot(view, point, { colour: ink.best, kind: "dot" });
    ringed(view, run.default, ink.default);
  }

  chosen.onSettled(draw);
  return { draw, fronts: () => columns.map((column) => [column.name, worthIt(run, column).map((row) => run.id[row])]) };
}

/* What was measured of the nets, and the time of a training; what is the fitness itself is no cost. */
function costColumns(run) {
  const units = { parameters: [1, "parameters"], multiply_adds: [1e6, "million multiply-adds of one image"] };
  const measured = Object.keys(units)
    .filter((name) => name in run.measures && name !== run.measure)
    .map((name) => {
      const [unit, label] = units[name];
      const values = run.measures[name];
      return { name, label, of: (row) => (values[row] === null ? null : values[row] / unit) };
    });
  const trained = (row) => (run.same[row] === null && run.had(row) !== null ? run.seconds[row] : null);
  const unit = timeUnit(Math.max(0, ...(span(run.rows.map(trained)) || [])));
  const time = { name: "time", label: `${unit.name} of training` };
  time.of = (row) => (trained(row) === null ? null : trained(row) / unit.seconds);
  return [...measured, time]
    .map((column) => ({ ...column, scale: widened(run.rows.map(column.of)) }))
    .filter((column) => span(run.rows.map(column.of)) !== null);
}

/* The individuals that no other one equals or beats in the fitness for less, of those that came to their ends; the
   cheapest first. */
function worthIt(run, column) {
  const known = run.rows.filter((row) => run.gain(row) !== null && column.of(row) !== null);
  known.sort((a, b) => column.of(a) - column.of(b) || run.gain(b) - run.gain(a) || a - b);
  let best = -Infinity;
  return known.filter((row) => {
    const rises = run.gain(row) > best;
    if (rises) best = run.gain(row);
    return rises;
  });
}
