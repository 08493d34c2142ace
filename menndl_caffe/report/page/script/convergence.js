/* Each generation, or group of individuals: its fitness, and how the values of every gene are spread in it. */

const BOX = 0.36; // half the width of a box, in generations

function convergence(run) {
  const top = document.getElementById("convergence-plot");
  if (!top) return { draw() {} };
  const { stages } = run;
  const host = document.getElementById("convergence-genes");
  const figures = run.genes.map((gene) => element("figure", { "aria-label": `${gene.name} by ${run.stage}` }));
  host.replaceChildren(...figures);
  const x = { scale: linearScale(0.4, stages.until + 0.6, true), label: run.stage };
  const base = run.default === null ? null : run.fitness[run.default];

  const stopped = run.rows.filter(run.isStopped);

  function draw() {
    legend(document.getElementById("convergence-legend"), [
      { text: "best so far", colour: ink.best },
      { text: `best of the ${run.stage}`, colour: ink.best, kind: "dot" },
      { text: stages.failed.some(Boolean) ? `mean (${stages.counted})` : "mean", colour: ink.plain },
      { text: "half of the individuals (quartiles)", colour: ink.range, kind: "box" },
      ...earlyEntry(run),
      ...(base === null ? [] : [{ text: `default ${run.text(base)}`, colour: ink.default, dash: [6, 4] }]),
    ]);
    drawFitness();
    run.genes.forEach((gene, i) => drawSpread(figures[i], gene, stages.genes[i]));
  }

  function drawFitness() {
    const columns = [stages.lower, stages.upper, stages.mean, stages.best, stages.soFar];
    const [low, high] = span([...columns.flat(), base, ...stopped.map(run.had)]) || [0, 1];
    const margin = (high - low || 0.1) * 0.05;
    const view = plot(top, { height: 320, x, y: { scale: linearScale(low - margin, high + margin), label: run.label } });
    const at = (k) => view.x(stages.number[k]);
    stages.number.forEach((number, k) => {
      if (stages.lower[k] === null) return;
      view.context.fillStyle = ink.range;
      const [from, to] = [view.y(stages.upper[k]), view.y(stages.lower[k])];
      view.context.fillRect(view.x(number - BOX), from, view.x(number + BOX) - view.x(number - BOX), Math.max(to - from, 1));
    });
    view.place = (row) => [
      view.x(run.generation[row] + BOX * (((row * GOLDEN) % 1) - 0.5)),
      view.y(run.had(row)),
    ];
    early(view, stopped, stopped.length > MANY);
    const path = (values) => values.map((value, k) => (value === null ? null : [at(k), view.y(value)]));
    stroke(view.context, path(stages.mean), { colour: ink.plain, width: 2 });
    if (base !== null) level(view, base, { colour: ink.default, width: 1.5, dash: [6, 4] });
    stroke(view.context, stepped(path(stages.soFar)), { colour: ink.best, width: 2 });
    for (const point of path(stages.best)) if (point) spot(view, point, { colour: ink.best, kind: "dot" });
    top.onpointermove = (event) => {
      const number = Math.round(x.scale.back((event.offsetX - view.left) / (view.right - view.left)));
      const k = stages.number.indexOf(number);
      hint(event, ...(k < 0 ? [] : stageText(run, k)));
    };
    top.onpointerleave = (event) => hint(event);
  }

  function drawSpread(figure, gene, found) {
    const scale = geneScale(gene);
    const view = plot(figure, { height: 190, x, y: { scale: padded(scale, 0.05), label: gene.name, isTitle: true } });
    if (gene.choices) drawShares(view, found);
    else drawBoxes(view, found);
    level(view, gene.default, { colour: ink.default, width: 1.25, dash: [6, 4] });
  }

  return { draw, shown: () => stages };
}

/* A dot for each choice; its area is the share of the individuals that have it. */
function drawShares(view, found) {
  const room = Math.min(view.x(1) - view.x(0), 18) / 2;
  view.context.fillStyle = ink.plain;
  for (const [number, counts] of found) {
    const all = counts.reduce((sum, count) => sum + count, 0);
    counts.forEach((count, choice) => {
      if (!count) return;
      view.context.beginPath();
      view.context.arc(view.x(number), view.y(choice), Math.max(room * Math.sqrt(count / all), 1), 0, 2 * Math.PI);
      view.context.fill();
    });
  }
}

/* Quartiles as a box, the median across it, whiskers as in Figure 3. */
function drawBoxes(view, found) {
  const line = (points, width, colour) => stroke(view.context, points, { colour, width });
  for (const [number, low, lower, median, upper, high] of found) {
    const [left, middle, right] = [number - BOX, number, number + BOX].map(view.x);
    const [top, bottom] = [view.y(upper), view.y(lower)];
    line([[middle, view.y(low)], [middle, bottom]], 1, ink.other);
    line([[middle, top], [middle, view.y(high)]], 1, ink.other);
    view.context.fillStyle = ink.range;
    view.context.fillRect(left, top, right - left, Math.max(bottom - top, 1));
    line([[left, view.y(median)], [right, view.y(median)]], 2, ink.plain);
  }
}

/* As it is until the next one: level, then upright. */
function stepped(points) {
  return points.flatMap((point, k) => (k && point && points[k - 1] ? [[point[0], points[k - 1][1]], point] : [point]));
}

function stageText(run, k) {
  const { stages } = run;
  const lines = {
    "best so far": stages.soFar[k],
    best: stages.best[k],
    "upper quartile": stages.upper[k],
    mean: stages.mean[k],
    "lower quartile": stages.lower[k],
  };
  const early = run.until ? `, ${stages.stopped[k].toLocaleString("en")} stopped early` : "";
  return [
    element("strong", {}, `${run.stage} ${stages.number[k]}`),
    element("div", {}, `${stages.evaluated[k].toLocaleString("en")} evaluated, ${stages.failed[k]} failed` + early),
    ...Object.entries(lines).map(([name, value]) => element("div", {}, `${name} ${run.text(value) || "–"}`)),
  ];
}
