/* The descents of a search along gradients: the loss and every gene over their steps. */

function paths(run) {
  const host = document.getElementById("paths-genes");
  if (!host) return { draw() {} };
  const lines = run.descents.map((descent) => ({ ...descent, rows: descent.steps.map((step) => run.rowOf(step.id)) }));
  const longest = Math.max(1, ...lines.map((line) => line.rows.length));
  const losses = lines.flatMap((line) => line.rows.map((row) => run.loss[row]));
  const top = document.getElementById("paths-loss");
  const genes = run.genes.map((gene, i) => ({ gene, values: run.values[i] })).filter(({ gene }) => run.descending.includes(gene.name));
  const figures = genes.map(({ gene }) => element("figure", { "aria-label": `${gene.name} by step of each descent` }));
  host.replaceChildren(...figures);

  function draw() {
    descentsLegend(lines);
    drawPanel(top, 280, { scale: widened(losses), label: "loss on the validation set" }, (row) => run.loss[row]);
    genes.forEach(({ gene, values }, i) =>
      drawPanel(figures[i], 200, { scale: geneScale(gene), label: gene.name, least: 6 }, (row) => values[row]),
    );
  }

  /* What has no value is marked at the upper edge, and its line goes on to the next step that has one. */
  function drawPanel(figure, height, y, value) {
    const view = plot(figure, { height, x: { scale: wholeScale(1, longest), label: "step of the descent" }, y });
    const places = new Map();
    for (const line of lines) {
      line.rows.forEach((row, k) => {
        places.set(row, [view.x(k + 1), value(row) === null ? view.top : view.y(value(row))]);
      });
      const known = line.rows.filter((row) => value(row) !== null);
      const path = known.map((row) => places.get(row));
      stroke(view.context, path, lookOf(line));
    }
    for (const line of lines)
      line.steps.forEach((step, k) => marked(view.context, places.get(line.rows[k]), step.state, lookOf(line).colour));
    view.place = (row) => places.get(row);
    pointed(figure, run, (px, py) => nearestPoint(view, [...places.keys()], px, py), view);
  }

  return { draw, lines: () => lines.map((line) => line.steps.map((step) => [step.id, step.state])) };
}

function lookOf({ style }) {
  return style === null
    ? { colour: ink.other, dash: [], width: 1 }
    : { colour: ink.runs[style], dash: RUN_DASHES[style], width: 1.75 };
}

function descentsLegend(lines) {
  const has = (state) => lines.some((line) => line.steps.some((step) => step.state === state));
  const others = lines.filter((line) => line.style === null);
  legend(document.getElementById("paths-legend"), [
    ...lines
      .filter((line) => line.style !== null)
      .map((line) => ({ text: `descent ${line.number}`, ...lookOf(line) })),
    ...(others.length ? [{ text: `${others.length.toLocaleString("en")} others`, ...lookOf(others[0]) }] : []),
    ...(has("not trusted") ? [{ text: "gradient not trusted", colour: ink.default, kind: "ring" }] : []),
    ...(has("failed") ? [{ text: "failed", colour: ink.default, kind: "cross" }] : []),
  ]);
}

/* A step: a dot; hollow where its gradient was not trusted, a cross where it failed. */
function marked(context, [x, y], state, colour) {
  context.save();
  Object.assign(context, { strokeStyle: colour, fillStyle: state === "trusted" ? colour : ink.back, lineWidth: 1.75 });
  context.beginPath();
  if (state === "failed") {
    for (const slope of [1, -1]) {
      context.moveTo(x - 4, y - 4 * slope);
      context.lineTo(x + 4, y + 4 * slope);
    }
  } else {
    context.arc(x, y, state === "trusted" ? 3 : 4.5, 0, 2 * Math.PI);
    context.fill();
  }
  context.stroke();
  context.restore();
}
