/* Learning curves: those of the best and the default, and a sample of what is brushed. */

const SAMPLE = 150; // curves beside those two

function curves(run, chosen) {
  if (!run.curves.grid.length) return { draw() {} };
  const parts = [
    {
      figure: document.getElementById("curves-value"),
      label: run.curve_label,
      values: run.curves.value,
      cut: run.curve_measure === "loss",
    },
    { figure: document.getElementById("curves-loss"), label: "loss", values: run.curves.loss, cut: true },
  ].filter((part) => part.figure);
  const shade = shading(run.rows.map(run.gain));
  const hasCurve = (row) => row !== null && run.curve[row] !== null;
  const longest = Math.max(1, ...run.curves.iterations.map((iterations) => iterations[iterations.length - 1]));
  const count = () => `${sample.length.toLocaleString("en")} of ${chosen.isAll() ? "all" : "the brushed"}`;
  let sample = [];

  function draw() {
    sample = sampled(
      chosen.rows.filter((row) => hasCurve(row) && run.same[row] === null),
      SAMPLE,
    );
    legend(document.getElementById("curves-legend"), [
      { text: "best", colour: BEST },
      { text: "default", colour: DEFAULT, dash: [6, 4] },
      {
        text: `${count()}, the darker the better`,
        colour: SHADES[3],
      },
    ]);
    for (const part of parts) drawPart(part);
  }

  function drawPart({ figure, label, values, cut }) {
    const rows = [...sample, ...[run.default, run.best].filter(hasCurve)];
    const range = curveSpan(
      rows.map((row) => values[run.curve[row]]),
      cut,
    );
    const view = plot(figure, {
      height: 320,
      x: { scale: wholeScale(0, longest), label: "iteration" },
      y: { scale: linearScale(...range), label },
    });
    const points = (row) => {
      const at = run.curve[row],
        iterations = run.curves.iterations[run.curves.grid[at]];
      return values[at].map((value, k) =>
        value === null ? null : [view.x(iterations[k]), Math.max(view.y(value), view.top)],
      );
    };
    for (const row of sample)
      stroke(view.context, points(row), {
        colour: shade.of(run.gain(row)),
        width: 1,
        alpha: sample.length > 40 ? 0.5 : 0.9,
      });
    if (hasCurve(run.default)) stroke(view.context, points(run.default), { colour: DEFAULT, width: 2, dash: [6, 4] });
    if (hasCurve(run.best)) stroke(view.context, points(run.best), { colour: BEST, width: 2.5 });
  }

  chosen.onChange((done) => done && draw());
  return { draw, sample: () => sample.map((row) => run.id[row]) };
}

/* From the lowest value to the highest; or, where nets that diverge would make it too wide, cut at twice the height to
   which half of the curves rise. */
function curveSpan(lists, cut) {
  const spans = lists.map(span).filter((range) => range !== null);
  if (!spans.length) return [0, 1];
  const [low, high] = span(spans.flat());
  const tops = spans.map(([, top]) => top).sort((a, b) => a - b);
  return [low, cut ? Math.min(high, low + 2 * (tops[Math.floor((tops.length - 1) / 2)] - low)) : high];
}

/* At most so many rows, evenly from the worst to the best place in their order. */
function sampled(rows, most) {
  if (rows.length <= most) return rows;
  return Array.from({ length: most }, (_, k) => rows[Math.floor(((k + 0.5) * rows.length) / most)]);
}
