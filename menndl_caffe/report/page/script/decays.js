/* The decays that the best individuals learned: which they are, the way there, and what a hypernet predicted. */

const LONGEST_NAME = 22; // of longer ones the end is shown, where the blob is
/* How each part looks, in the colours of now. */
function looks() {
  const [learned, , , predicted] = ink.runs;
  return {
    learned,
    stated: { text: "stated", colour: ink.default, dash: [6, 4], width: 1.25 },
    mean: { text: "geometric mean", colour: learned, width: 1.75 },
    range: { text: "range", colour: ink.range, kind: "box" },
    curve: { text: "predicted", colour: predicted, width: 1.75 },
    way: { text: "predicted, of one batch each", colour: ink.other, kind: "dot" },
    end: { text: "predicted in the end", colour: predicted, kind: "ring" },
    measured: { text: "measured", colour: ink.best, kind: "dot" },
  };
}

function decays(run) {
  const host = document.getElementById("decays-plots");
  if (!host) return { draw() {} };
  const scale = decadeScale(run.decays.flatMap(decaysOf));
  const predictions = run.decays.filter((one) => one.predicted);
  const rows = run.decays.map((one) => ({
    ...one,
    figures: ["decays", "path", ...(one.predicted ? ["predictions"] : [])].map((part) =>
      element("figure", { id: `${part}-of-${one.id}`, "aria-label": `${part} of ${one.title}` }),
    ),
  }));
  host.replaceChildren(
    ...rows.flatMap((row) => [element("h3", {}, row.title), element("div", { class: "genes" }, ...row.figures)]),
  );
  function drawLegend() {
    const look = looks();
    legend(document.getElementById("decays-legend"), [
      ...(run.decays.some((one) => one.stated.length) ? [look.stated] : []),
      look.mean,
      ...(run.decays.some((one) => one.several) ? [look.range] : []),
      ...(predictions.some((one) => one.predicted.curve) ? [look.curve] : []),
      ...(predictions.some((one) => !one.predicted.curve) ? [look.way] : []),
      ...(predictions.length ? [look.end, look.measured] : []),
    ]);
  }

  function draw() {
    drawLegend();
    for (const row of rows) {
      const [which, way, losses] = row.figures;
      const x = { scale, label: "decay" };
      upright(DISTRIBUTIONS[kindOf(row)](which, x, row), row);
      drawPath(way, scale, row);
      if (losses) drawPredictions(losses, x, row.predicted);
    }
  }

  return { draw, shown: () => rows.map((row) => [row.id, kindOf(row)]) };
}

const DISTRIBUTIONS = { named: drawNamed, histogram: drawHistogram, quantiles: drawQuantiles };

/* By name where they are few, else of the weights where their file is there. */
function kindOf({ named, histogram }) {
  return named.length ? "named" : histogram ? "histogram" : "quantiles";
}

function decaysOf({ stated, named, quantiles, histogram, path, predicted }) {
  return [
    ...stated,
    ...named.map(([, decay]) => decay),
    ...quantiles,
    ...(histogram ? histogram.edges : []),
    ...path.flatMap(([, ...values]) => values),
    ...(predicted ? predicted.points.map(([decay]) => decay) : []),
  ];
}

/* Logarithmic, from a power of ten to another one. */
function decadeScale(values) {
  const [low, high] = span(values);
  return logScale(10 ** Math.floor(Math.log10(low) - 1e-3), 10 ** Math.ceil(Math.log10(high) + 1e-3));
}

function drawNamed(figure, x, { named }) {
  const names = named.map(([name]) => (name.length <= LONGEST_NAME ? name : `…${name.slice(1 - LONGEST_NAME)}`));
  const down = { ...choiceScale(names), at: (place) => 1 - (place + 0.5) / names.length, ticks: () => [...names.keys()] };
  const height = Math.max(200, 64 + 20 * names.length);
  const view = plot(figure, { height, x, y: { scale: down, label: "decay of each" } });
  named.forEach(([, decay], place) => spot(view, [view.x(decay), view.y(place)], { colour: looks().learned, kind: "dot" }));
  return view;
}

function drawHistogram(figure, x, { histogram: { edges, weights } }) {
  const counts = wholeScale(0, Math.max(...weights));
  const y = { scale: { ...counts, ticks: (most) => counts.ticks(most).filter((count) => count) }, label: "weights" };
  const view = plot(figure, { height: 200, x, y });
  view.context.fillStyle = looks().learned;
  weights.forEach((count, k) => {
    const [left, right] = [view.x(edges[k]), view.x(edges[k + 1])];
    view.context.fillRect(left, view.y(count), right - left, view.bottom - view.y(count));
  });
  return view;
}

/* The range, and where five are known, the quartiles and the median, of the groups' decays. */
function drawQuantiles(figure, x, { quantiles }) {
  const y = { scale: { ...linearScale(0, 1), ticks: () => [] }, label: "quantiles of the groups' decays" };
  const view = plot(figure, { height: 200, x, y });
  const line = (from, to, width) =>
    stroke(view.context, [from, to].map((decay) => [view.x(decay), view.y(0.5)]), { colour: looks().learned, width });
  line(quantiles[0], quantiles[quantiles.length - 1], 2);
  if (quantiles.length === 5) {
    line(quantiles[1], quantiles[3], 12);
    spot(view, [view.x(quantiles[2]), view.y(0.5)], { colour: ink.back, kind: "dot" });
  }
  return view;
}

function upright(view, { stated }) {
  for (const decay of stated)
    stroke(view.context, [view.top, view.bottom].map((y) => [view.x(decay), y]), looks().stated);
}

function drawPath(figure, scale, { path, unit, stated }) {
  const x = { scale: wholeScale(0, Math.max(1, path[path.length - 1][0])), label: unit };
  const view = plot(figure, { height: 200, x, y: { scale, label: "decay", least: 6 } });
  const along = (column) => path.map((point) => [view.x(point[0]), view.y(point[column])]);
  view.context.fillStyle = looks().range.colour;
  view.context.beginPath();
  for (const point of [...along(2), ...along(3).reverse()]) view.context.lineTo(...point);
  view.context.fill();
  stroke(view.context, along(1), looks().mean);
  if (path.length === 1) spot(view, along(1)[0], { colour: looks().learned, kind: "dot" });
  for (const decay of stated) level(view, decay, looks().stated);
}

function drawPredictions(figure, x, { points, curve, decay, loss, measured }) {
  const losses = [...points.map(([, value]) => value), loss, ...(measured === null ? [] : [measured])];
  const view = plot(figure, { height: 200, x, y: { scale: widened(losses), label: "loss on the validation set" } });
  const places = points.map(([at, value]) => [view.x(at), view.y(value)]);
  if (curve) stroke(view.context, places, looks().curve);
  else for (const place of places) spot(view, place, looks().way);
  spot(view, [view.x(decay), view.y(loss)], looks().end);
  if (measured !== null) spot(view, [view.x(decay), view.y(measured)], looks().measured);
}
