/* The individuals by each pair of several objectives, and those of the front. */

function front(run, chosen) {
  const host = document.getElementById("front-plots");
  if (!host) return { draw() {} };
  const pairs = run.objectives.flatMap((x, i) => run.objectives.slice(i + 1).map((y) => [x, y]));
  const figures = pairs.map(([x, y]) => element("figure", { "aria-label": `${y.label} against ${x.label}` }));
  host.replaceChildren(...figures);
  legend(document.getElementById("front-legend"), [
    { text: "an individual", colour: PLAIN, kind: "dot" },
    { text: `front of ${run.front.length.toLocaleString("en")}`, colour: BEST, kind: "dot" },
    ...(run.default === null ? [] : [{ text: "default", colour: DEFAULT, kind: "dot" }]),
  ]);

  function draw() {
    pairs.forEach((pair, k) => drawPair(figures[k], ...pair));
  }

  function drawPair(figure, x, y) {
    const has = (row) => x.values[row] !== null;
    const view = plot(figure, {
      height: 380,
      x: { scale: roomy(x), label: x.label },
      y: { scale: roomy(y), label: y.label },
    });
    view.place = (row) => [view.x(x.values[row]), view.y(y.values[row])];
    if (!chosen.isAll()) dots(view.context, view, run.rows.filter(has), () => PALE, 2.2, 1);
    dots(view.context, view, chosen.rows.filter(has), () => PLAIN, 3, 0.6);
    if (run.default !== null && has(run.default)) dots(view.context, view, [run.default], () => DEFAULT, 5, 1);
    dots(view.context, view, run.front, () => BEST, 4.5, 1);
    if (pairs.length === 1) stroke(view.context, border(view, x), { colour: BEST, width: 1.5 });
    pointed(figure, run, (px, py) => nearestPoint(view, chosen.rows.filter(has), px, py));
  }

  /* What the front dominates ends here, from left to right. */
  function border(view, x) {
    const places = run.front.map(view.place).sort((a, b) => a[0] - b[0]);
    return places.flatMap((place, k) => {
      const before = places[k - 1];
      return before ? [x.minimize ? [place[0], before[1]] : [before[0], place[1]], place] : [place];
    });
  }

  chosen.onChange((done) => done && draw());
  return { draw, ids: () => run.front.map((row) => run.id[row]) };
}

function roomy({ values }) {
  const [low, high] = span(values) || [0, 1];
  const margin = (high - low) * 0.05;
  return linearScale(low - margin, high + margin);
}
