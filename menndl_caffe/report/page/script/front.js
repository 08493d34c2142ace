/* The individuals by each pair of several objectives, and those of the front. */

function front(run, chosen) {
  const host = document.getElementById("front-plots");
  if (!host) return { draw() {} };
  const columns = run.objectives.map((objective) => ({
    ...objective,
    scale: roomy(objective),
    of: (row) => objective.values[row],
  }));
  const pairsOfThem = columns.flatMap((x, i) => columns.slice(i + 1).map((y) => [x, y]));
  const figures = pairsOfThem.map(([x, y]) => element("figure", { "aria-label": `${y.label} against ${x.label}` }));
  host.replaceChildren(...figures);

  function draw() {
    legend(document.getElementById("front-legend"), [
      { text: "an individual", colour: ink.plain, kind: "dot" },
      { text: `front of ${run.front.length.toLocaleString("en")}`, colour: ink.best, kind: "dot" },
      ...(run.default === null ? [] : [{ text: "default", colour: ink.default, kind: "dot" }]),
    ]);
    pairsOfThem.forEach((pair, k) => drawPair(figures[k], ...pair));
  }

  function drawPair(figure, x, y) {
    const view = scatter(figure, run, chosen, { height: 380, x, y });
    if (run.default !== null && view.has(run.default))
      dots(view.context, view, [run.default], () => ink.default, 5, 1);
    dots(view.context, view, run.front, () => ink.best, 4.5, 1);
    if (pairsOfThem.length === 1) stroke(view.context, border(view, x), { colour: ink.best, width: 1.5 });
  }

  /* What the front dominates ends here, from left to right. */
  function border(view, x) {
    const places = run.front.map(view.place).sort((a, b) => a[0] - b[0]);
    return places.flatMap((place, k) => {
      const before = places[k - 1];
      return before ? [x.minimize ? [place[0], before[1]] : [before[0], place[1]], place] : [place];
    });
  }

  chosen.onSettled(draw);
  return { draw, ids: () => run.front.map((row) => run.id[row]) };
}

function roomy({ values }) {
  const [low, high] = span(values) || [0, 1];
  const margin = (high - low) * 0.05;
  return linearScale(low - margin, high + margin);
}
