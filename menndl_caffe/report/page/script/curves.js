/* Learning curves: those of the best and the default, and a sample of what is brushed. */

const SAMPLE = 150; // curves beside those two
const NEAR = 8; // pixels from a curve that is pointed at

function curves(run, chosen) {
  const all = [
    {
      figure: document.getElementById("curves-value"),
      label: run.curve_label,
      values: run.curves.value,
      isLoss: run.curve_measure === "loss",
    },
    { figure: document.getElementById("curves-loss"), label: "loss", values: run.curves.loss, isLoss: true },
  ];
  const parts = all.filter((part) => part.figure);
  if (!parts.length) return { draw() {} };
  const shade = shading(run.rows.map(run.gain));
  const hasCurve = (row) => row !== null && run.curve[row] !== null;
  const longest = Math.max(1, ...run.curves.iterations.map((iterations) => iterations[iterations.length - 1]));
  let sample = [],
    isLog = null;

  function draw() {
    sample = sampled(
      chosen.rows.filter((row) => hasCurve(row) && run.same[row] === null),
      SAMPLE,
    );
    legend(document.getElementById("curves-legend"), [
      { text: "best", colour: ink.best },
      { text: "default", colour: ink.default, dash: [6, 4] },
      {
        text: `${sample.length.toLocaleString("en")} of ${chosen.isAll() ? "all" : "the brushed"}, the ${ink.better} the better`,
        colour: ink.shades[3],
      },
      ...(sample.some(run.isStopped) ? [{ text: "stopped early", colour: ink.other }] : []),
    ]);
    document.getElementById("curves-cut").textContent = parts.map(drawPart).filter(Boolean).join(" ");
  }

  /* Gives what lies outside of the plot, in words. */
  function drawPart({ figure, label, values, isLoss }) {
    const rows = [...sample, ...[run.default, run.best].filter(hasCurve)];
    const valuesOf = (row) => values[run.curve[row]];
    const y = curveScale(rows.map(valuesOf), isLoss, isLoss && isLog);
    const view = plot(figure, {
      height: 320,
      x: { scale: wholeScale(0, longest), label: "iteration" },
      y: { scale: y, label },
    });
    const points = new Map(rows.map((row) => [row, pointsOf(run, view, row, valuesOf(row))]));
    const line = (row, look) => curveLine(view, points.get(row), look);
    for (const row of sample.filter(run.isStopped)) line(row, { colour: ink.other, width: 0.75, alpha: 0.6 });
    for (const row of sample.filter((row) => !run.isStopped(row)))
      line(row, { colour: shade.of(run.gain(row)), width: 1, alpha: sample.length > 40 ? 0.5 : 0.9 });
    if (hasCurve(run.default)) line(run.default, { colour: ink.default, width: 2, dash: [6, 4] });
    if (hasCurve(run.best)) line(run.best, { colour: ink.best, width: 2.5 });
    pointed(figure, run, (px, py) => nearestCurve(points, px, py), view, (row) => points.get(row));
    return outside(run, view, rows, valuesOf, points, label, y);
  }

  chosen.onChange((done) => done && draw());
  const options = document.getElementById("curves-options");
  choices(options, ["automatic", "linear", "logarithmic"], (name) => {
    isLog = name === "automatic" ? null : name === "logarithmic";
    draw();
  });
  return { draw, sample: () => sample.map((row) => run.id[row]) };
}

/* A curve's points in pixels; what is beyond the plot lies on its edge. */
function pointsOf(run, view, row, values) {
  const iterations = run.curves.iterations[run.curves.grid[run.curve[row]]];
  return values.map((value, k) =>
    value === null ? null : [view.x(iterations[k]), Math.min(Math.max(view.y(value), view.top), view.bottom)],
  );
}

/* Of a single test pass there is a dot. */
function curveLine(view, points, look) {
  const known = points.filter((point) => point !== null);
  if (known.length === 1) spot(view, known[0], { colour: look.colour, kind: "dot" });
  else stroke(view.context, points, look);
}

/* From the lowest value to the highest. Losses that differ much are logarithmic, unless it is said how; and where nets
   that diverge would make the plot too high, it is cut at twice the height to which half of the curves rise. */
function curveScale(lists, isLoss, isLog) {
  const spans = lists.map(span).filter((range) => range !== null);
  if (!spans.length) return linearScale(0, 1);
  const [low, high] = span(spans.flat());
  if (!isLoss) return linearScale(low, high);
  const half = middle(spans.map(([, top]) => top));
  const log = low > 0 && (isLog ?? half > 10 * low);
  const [there, back] = log ? [Math.log, Math.exp] : [Number, Number];
  const top = Math.min(high, back(there(low) + 2 * (there(half) - there(low))));
  return { ...(log && top > low ? logScale(low, top) : linearScale(low, top)), top: top < high ? top : null };
}

/* Marks the curves that rise out of the plot where they do, and says how many there are. */
function outside(run, view, rows, valuesOf, points, label, { top }) {
  if (top === null || top === undefined) return "";
  const above = [...new Set(rows)].filter((row) => valuesOf(row).some((value) => value > top));
  for (const row of above) {
    const [x] = points.get(row)[valuesOf(row).findIndex((value) => value > top)];
    view.context.fillStyle = ink.failure;
    view.context.beginPath();
    for (const [dx, dy] of [[-5, 1], [0, -7], [5, 1]]) view.context.lineTo(x + dx, view.top + dy);
    view.context.fill();
  }
  const highest = above.reduce((a, b) => (span(valuesOf(b))[1] > span(valuesOf(a))[1] ? b : a));
  const [what, rise] = above.length === 1 ? ["curve", "rises"] : ["curves", "rise"];
  return (
    `The plot of the ${label} is cut at ${number(top)}: ${above.length} ${what} (marked by a triangle) ${rise} above, ` +
    `up to ${number(span(valuesOf(highest))[1])} (${titleOf(run, highest)}).`
  );
}

/* The row whose curve is nearest to a pixel, if it is near. */
function nearestCurve(points, x, y) {
  let found = null,
    least = NEAR;
  for (const [row, curve] of points) {
    const distance = distanceTo(curve, x, y);
    if (distance <= least) [found, least] = [row, distance];
  }
  return found;
}

/* Upright from a pixel to a curve; of a dot, from its middle. */
function distanceTo(curve, x, y) {
  for (let k = 0; k < curve.length; k++) {
    const [a, b] = [curve[k], curve[k + 1]];
    if (a && Math.hypot(a[0] - x, a[1] - y) < NEAR / 2) return 0;
    if (a && b && a[0] <= x && x <= b[0]) return Math.abs(a[1] + ((x - a[0]) / (b[0] - a[0] || 1)) * (b[1] - a[1]) - y);
  }
  return Infinity;
}

/* At most so many rows, evenly from the worst to the best place in their order. */
function sampled(rows, most) {
  if (rows.length <= most) return rows;
  return Array.from({ length: most }, (_, k) => rows[Math.floor(((k + 0.5) * rows.length) / most)]);
}
