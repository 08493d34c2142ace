/* Which value of a gene is good: every gene against the fitness, and pairs of genes. */

const BINS = 10; // of the values of a gene that has many
const IN_A_BIN = 3; // trainings, below which their median says nothing

function values(run, chosen) {
  const host = document.getElementById("values-plots");
  if (!host) return { draw() {} };
  const genes = run.axes.slice(1, -1).sort((a, b) => (run.shares[b.name] || 0) - (run.shares[a.name] || 0));
  const figures = genes.map((axis) => element("figure", { "aria-label": `${run.measure} by ${axis.name}` }));
  host.replaceChildren(...figures);

  function draw() {
    const scale = fitnessScale(run);
    legend(document.getElementById("values-legend"), [
      { text: "an individual", colour: ink.plain, kind: "dot" },
      ...earlyEntry(run),
      { text: `median of the trainings${run.until ? " to the end" : ""} with such a value`, colour: ink.default },
      ...(run.best === null ? [] : [{ text: "best", colour: ink.best, kind: "ring" }]),
      { text: "the default's value", colour: ink.default, dash: [6, 4] },
      ...edgeEntry(run, scale),
    ]);
    genes.forEach((axis, i) => drawGene(figures[i], axis, scale));
  }

  function drawGene(figure, axis, scale) {
    const share = run.shares[axis.name];
    const title = share === undefined ? "" : `: explains ${Math.round(100 * share)}% alone`;
    const view = scatter(figure, run, chosen, {
      height: 210,
      x: { ...axis, scale: padded(axis.scale), label: "" },
      y: { scale, label: `${axis.name}${title}`, isTitle: true, of: run.had },
    });
    for (const { from, to, median } of medians(run, chosen.rows, axis)) {
      const [left, right] = [view.x(from), view.x(to)],
        y = Math.min(Math.max(view.y(median), view.top), view.bottom);
      const short = Math.max(0, 10 - (right - left)) / 2;
      stroke(view.context, [[left - short, y], [right + short, y]], { colour: ink.default, width: 2.5 });
    }
    const x = view.x(axis.gene.default);
    stroke(view.context, [[x, view.top], [x, view.bottom]], { colour: ink.default, width: 1.25, dash: [6, 4] });
    ringed(view, run.best, ink.best);
  }

  chosen.onSettled(draw);
  return { draw, medians: () => genes.map((axis) => [axis.name, medians(run, chosen.rows, axis)]) };
}

/* The median fitness of the trainings that came to their ends by value of a gene; of one with many values, by
   neighbouring ones, as many of them in each of BINS. Individuals that were met again count once. */
function medians(run, rows, axis) {
  const known = rows
    .filter((row) => run.fitness[row] !== null && run.same[row] === null && axis.of(row) !== null)
    .sort((a, b) => axis.of(a) - axis.of(b));
  const groups = new Map();
  const different = new Set(known.map(axis.of)).size;
  const few = axis.scale.choices || different <= BINS;
  known.forEach((row, k) => {
    const key = few ? axis.of(row) : Math.floor((k * BINS) / known.length);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  });
  return [...groups.values()]
    .filter((group) => group.length >= IN_A_BIN)
    .map((group) => ({
      from: axis.of(group[0]),
      to: axis.of(group[group.length - 1]),
      median: middle(group.map((row) => run.fitness[row])),
      count: group.length,
    }));
}

function middle(values) {
  const sorted = Float64Array.from(values).sort(),
    half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/* Two genes that can be chosen, first the two that explain most, and the fitness as the shade of each individual. */
function pairs(run, chosen) {
  const figure = document.getElementById("pairs-plot");
  if (!figure) return { draw() {} };
  const genes = run.axes.slice(1, -1);
  const byShare = [...genes.keys()].sort(
    (a, b) => (run.shares[genes[b].name] || 0) - (run.shares[genes[a].name] || 0),
  );
  const selects = ["Horizontal axis", "Vertical axis"].map((label, k) => {
    const select = element(
      "select",
      { on: { change: () => draw() } },
      ...genes.map((axis, i) => element("option", { value: i }, axis.name)),
    );
    select.value = byShare[k];
    document.getElementById("pairs-options").append(element("label", {}, `${label} `, select));
    return select;
  });

  function draw() {
    const shade = shading(run.rows.map(run.gain));
    const [x, y] = selects.map((select) => genes[Number(select.value)]);
    const worstFirst = (rows) => rows.sort((a, b) => (run.gain(a) ?? -Infinity) - (run.gain(b) ?? -Infinity));
    shadingLegend(document.getElementById("pairs-legend"), run, shade, "ring");
    const view = scatter(figure, run, chosen, {
      height: 380,
      x: { ...x, scale: padded(x.scale), label: x.name },
      y: { ...y, scale: padded(y.scale), label: y.name },
      colour: (row) => shadeOf(run, shade, row),
      order: worstFirst,
    });
    ringed(view, run.default, ink.default);
    ringed(view, run.best, ink.best);
  }

  chosen.onSettled(draw);
  return { draw, axes: () => selects.map((select) => genes[Number(select.value)].name) };
}
