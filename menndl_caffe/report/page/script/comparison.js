/* Several runs side by side: the best so far, and how the genes of the best are spread. */

function comparison(data) {
  const colour = (i) => ink.runs[i % ink.runs.length];
  const dash = (i) => RUN_DASHES[(i + Math.floor(i / ink.runs.length)) % RUN_DASHES.length];
  const some = data.runs
    .map((run, i) => ({ ...run, place: i, dash: dash(i) }))
    .filter((run) => run.steps.length);
  const unit = timeUnit(Math.max(0, ...some.map((run) => run.end.time)));
  const parts = [
    {
      figure: document.getElementById("over-evaluations"),
      label: "individuals evaluated",
      of: (step) => step.evaluations,
      whole: true,
    },
    {
      figure: document.getElementById("over-time"),
      label: `${unit.name} of training`,
      of: (step) => step.time / unit.seconds,
    },
  ];

  function drawBest({ figure, label, of, whole }) {
    const range = span(some.flatMap((run) => [...run.steps.map((step) => step.fitness), run.default])) || [0, 1];
    const margin = (range[1] - range[0] || 0.1) * 0.05;
    const view = plot(figure, {
      height: 360,
      x: { scale: linearScale(0, Math.max(...some.map((run) => of(run.end))), whole), label },
      y: { scale: linearScale(range[0] - margin, range[1] + margin), label: data.label },
    });
    for (const run of some.map((one) => ({ ...one, colour: colour(one.place) }))) {
      if (run.default !== null) level(view, run.default, { ...run, width: 1, alpha: 0.6 });
      const points = [];
      view.context.fillStyle = run.colour;
      for (const step of [...run.steps, { ...run.end, fitness: run.steps[run.steps.length - 1].fitness }]) {
        if (points.length) points.push([view.x(of(step)), points[points.length - 1][1]]);
        points.push([view.x(of(step)), view.y(step.fitness)]);
      }
      for (const step of run.steps) view.context.fillRect(view.x(of(step)) - 2.5, view.y(step.fitness) - 2.5, 5, 5);
      stroke(view.context, points, { ...run, width: 2.2 });
    }
  }

  /* A row a run: a dot a value of its best, a bar at the median; a hollow diamond is the default. */
  function drawGene(gene, figure) {
    const scale = geneScale(gene);
    const [top, between] = [24, 30];
    const view = plot(figure, {
      height: 62 + between * data.runs.length,
      x: { scale: gene.kind === "choice" ? scale : padded(scale), label: "" },
      y: { label: gene.name, scale: { at: () => 0, ticks: () => [], text: String } },
    });
    gene.values.forEach((values, i) => {
      const y = top + between * (i + 0.5);
      view.context.fillStyle = colour(i);
      view.context.globalAlpha = 0.55;
      values.forEach((value, k) =>
        view.context.fillRect(view.x(value) - 1.5, y + 12 * (((k * 0.618034) % 1) - 0.5) - 1.5, 4, 4),
      );
      view.context.globalAlpha = 1;
      if (values.length && gene.kind !== "choice") {
        const middle = [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
        view.context.fillRect(view.x(middle) - 1.5, y - 11, 3, 22);
      }
      if (gene.defaults[i] !== null) {
        const x = view.x(gene.defaults[i]);
        view.svg.append(
          svg("path", {
            d: `M${x},${y - 6}L${x + 6},${y}L${x},${y + 6}L${x - 6},${y}Z`,
            fill: "none",
            stroke: ink.default,
            "stroke-width": 1.5,
          }),
        );
      }
      view.svg.append(
        svg("line", { class: "grid", x1: view.left, x2: view.right, y1: y + between / 2, y2: y + between / 2 }),
      );
    });
  }

  const genes = document.getElementById("genes");
  const figures = data.genes.map((gene) =>
    element("figure", { "aria-label": `${gene.name} of the best individuals of each run` }),
  );
  genes.append(...figures);
  function drawLegends() {
    const entries = data.runs.map((run, i) => ({ text: run.name, colour: colour(i), dash: dash(i) }));
    legend(document.getElementById("best-legend"), entries);
    legend(
      document.getElementById("genes-legend"),
      entries.map((entry) => ({ ...entry, kind: "box" })),
    );
  }

  return {
    draw() {
      drawLegends();
      if (some.length) parts.forEach(drawBest);
      data.genes.forEach((gene, i) => drawGene(gene, figures[i]));
    },
  };
}
