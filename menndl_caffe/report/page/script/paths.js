/* The descents of a search along gradients: the loss and every gene over their steps. */

const OTHER_DESCENTS = { colour: "#9aa3ab", dash: [], width: 1 };

function paths(run) {
  const host = document.getElementById("paths-genes");
  if (!host) return { draw() {} };
  const lines = run.descents.map((descent) => ({
    ...descent,
    rows: descent.steps.map((step) => run.rowOf(step.id)),
    look:
      descent.style === null
        ? OTHER_DESCENTS
        : { colour: RUN_COLOURS[descent.style], dash: RUN_DASHES[descent.style], width: 1.75 },
  }));
  const longest = Math.max(1, ...lines.map((line) => line.rows.length));
  const has = (state) => lines.some((line) => line.steps.some((step) => step.state === state));
  const others = lines.filter((line) => line.style === null).length;
  const losses = lines.flatMap((line) => line.rows.map((row) => run.loss[row]));
  const top = document.getElementById("paths-loss");
  const figures = run.genes.map((gene) => element("figure", { "aria-label": `${gene.name} by step of each descent` }));
  host.replaceChildren(...figures);
  legend(document.getElementById("paths-legend"), [
    ...lines
      .filter((line) => line.style !== null)
      .map((line) => ({ text: `descent ${line.number}`, ...line.look })),
    ...(others ? [{ text: `${others.toLocaleString("en")} others`, ...OTHER_DESCENTS }] : []),
    ...(has("not trusted") ? [{ text: "gradient not trusted", colour: DEFAULT, kind: "ring" }] : []),
    ...(has("failed") ? [{ text: "failed", colour: DEFAULT, kind: "cross" }] : []),
  ]);

  function draw() {
    drawPanel(top, 280, { scale: widened(losses), label: "loss on the validation set" }, (row) => run.loss[row]);
    run.genes.forEach((gene, i) =>
      drawPanel(figures[i], 200, { scale: geneScale(gene), label: gene.name, least: 6 }, (row) => run.values[i][row]),
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
      stroke(view.context, path, line.look);
    }
    for (const line of lines)
      line.steps.forEach((step, k) => marked(view.context, places.get(line.rows[k]), step.state, line.look.colour));
    view.place = (row) => places.get(row);
    pointed(figure, run, (px, py) => nearestPoint(view, [...places.keys()], px, py));
  }

  return { draw, lines: () => lines.map((line) => line.steps.map((step) => [step.id, step.state])) };
}

/* A step: a dot; hollow where its gradient was not trusted, a cross where it failed. */
function marked(context, [x, y], state, colour) {
  context.save();
  Object.assign(context, { strokeStyle: colour, fillStyle: state === "trusted" ? colour : "#ffffff", lineWidth: 1.75 });
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
