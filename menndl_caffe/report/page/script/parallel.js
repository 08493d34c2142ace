/* Parallel coordinates of all individuals, as in EDEN: a line each, brushed by dragging along the axes.
   Where standing axes would be too close they lie, one below the other, and the lines run down. */

const BETWEEN = 84; // pixels between standing axes, at least
const CHUNK = 16; // lines of one stroke, where there are many: where lines of several strokes meet it gets darker
const WHILE_DRAGGING = 2000; // lines that are drawn while a brush is dragged
const BEHIND = 6000; // lines that show where the individuals are that are not brushed

function parallel(run, chosen) {
  const figure = document.getElementById("parallel");
  const shade = shading(run.rows.map(run.gain));
  const order = new Float64Array(run.count); // the best are drawn last, on top
  for (const row of run.rows) order[row] = run.gain(row) ?? -Infinity;
  const worstFirst = (rows) => [...rows].sort((a, b) => (order[a] === order[b] ? 0 : order[a] - order[b]));
  const all = worstFirst(run.rows);
  let view,
    waiting = 0;

  function draw() {
    view = parallelView(figure, run, chosen);
    brushing(view, run.axes, chosen);
    if (!chosen.isAll()) showBehind();
    paint(true);
    pointed(figure, run, (x, y) => nearest(view, chosen.rows, x, y));
  }

  function showBehind() {
    if (view.behind) return;
    view.behind = layer(view.width, view.height);
    figure.prepend(view.behind);
    lines(view, view.behind.getContext("2d"), thinned(all, BEHIND), () => PALE, { width: 1, alpha: 0.6 });
  }

  function paint(done) {
    const rows = chosen.isAll() ? all : worstFirst(chosen.rows);
    const some = done ? rows : thinned(rows, WHILE_DRAGGING);
    view.context.clearRect(0, 0, view.width, view.height);
    lines(
      view,
      view.context,
      some,
      (row) => shade.of(run.gain(row)),
      some.length > 3000 ? { width: 0.8, alpha: 0.3 } : { width: 1.2, alpha: some.length > 300 ? 0.6 : 0.85 },
    );
    if (run.default !== null) stroke(view.context, view.line(run.default), { colour: DEFAULT, width: 2, dash: [6, 4] });
    if (run.best !== null) stroke(view.context, view.line(run.best), { colour: BEST, width: 2.5 });
    if (view.behind) view.behind.hidden = chosen.isAll();
    view.showBrushes();
  }

  chosen.onChange((done) => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      showBehind();
      paint(done);
    });
  });
  shadingLegend(document.getElementById("parallel-legend"), run, shade);
  return { draw, lines: () => all.map((row) => [run.id[row], view.line(row)]) };
}

/* Where axes and lines are. `along(i, place)` is the pixel of a place on axis i, `across[i]` where the axis stands. */
function parallelView(figure, run, chosen) {
  const axes = run.axes,
    n = axes.length;
  const width = Math.max(figure.clientWidth, 240);
  const standing = (width - 90) / (n - 1) >= BETWEEN;
  const page = sheet(figure, standing ? 440 : 34 + 62 * n);
  page.svg.before(page.canvas); // axes above the lines
  const room = axes.some((axis) => axis.failed) ? -FAILED : 0;
  const [from, to] = standing ? [page.height - 22, 34] : [16, width - 16];
  const first = from + (room / (1 + room)) * (to - from);
  const along = (place) => first + place * (to - first);
  const across = axes.map((_, i) => (standing ? 50 + (i * (width - 90)) / (n - 1) : 30 + 62 * i));
  const at = (i, pixel) => (standing ? [across[i], pixel] : [pixel, across[i]]);
  const pixels = axes.map((axis, i) => spread(axis, chosen.positions[i], along));
  /* An individual's points; those of the default, which has no place on the axis of the generations. */
  const line = (row) =>
    axes.map((axis, i) => {
      if (run.individual[row]) return at(i, pixels[i][row]);
      const value = axis.of(row);
      if (value === null && !axis.failed) return null;
      return at(i, along(value === null ? FAILED : axis.scale.at(value)));
    });
  const view = {
    ...page,
    standing,
    along,
    across,
    at,
    pixels,
    line,
    rails: [],
    behind: null,
    back: (x, y) => ((standing ? y : x) - first) / (to - first),
  };
  axes.forEach((axis, i) => drawAxis(view, axis, i));
  return view;
}

/* The pixels of all rows on an axis. Individuals of the same value are spread a little, so that one sees how many. */
function spread(axis, places, along) {
  const unit = Math.abs(along(1) - along(0));
  const step = axis.scale.choices
    ? 1 / axis.scale.choices.length
    : axis.spread
      ? axis.spread / Math.max(axis.scale.high - axis.scale.low, axis.spread)
      : 0;
  const most = Math.min(step * unit * 0.5, 9);
  return places.map((place, row) => along(place) + most * (((row * 0.618034) % 1) - 0.5));
}

function drawAxis(view, axis, i) {
  const { standing, along, at } = view;
  const line = (a, b) => ({ x1: a[0], y1: a[1], x2: b[0], y2: b[1] });
  view.svg.append(svg("line", { class: "axis", ...line(at(i, along(0)), at(i, along(1))) }));
  const length = Math.abs(along(1) - along(0));
  const ticks = axis.scale
    .ticks(standing ? 9 : Math.floor(length / 62))
    .map((tick) => [axis.scale.at(tick), axis.scale.text(tick)]);
  if (axis.failed) ticks.push([FAILED, "failed"]);
  const room = standing ? view.across[1] - view.across[0] : length / (axis.scale.choices ? ticks.length : 1);
  for (const [place, text] of ticks) {
    const [x, y] = at(i, along(place));
    const words = shortened(text, Math.floor(Math.min(room * 0.8, standing && i === 0 ? 42 : 400) / 7));
    const anchor = standing ? "end" : place <= 0.02 ? "start" : place > 0.98 ? "end" : "middle";
    view.svg.append(
      svg(
        "text",
        {
          class: "tick",
          x: standing ? x - 5 : Math.max(x, 2),
          y: standing ? y + 4 : y + 16,
          "text-anchor": place === FAILED && !standing ? "start" : anchor,
        },
        words,
        svg("title", {}, text),
      ),
    );
  }
  const [x, y] = at(i, along(standing ? 1 : 0));
  const name = shortened(axis.name, Math.floor((standing ? room : length) / 8));
  const ends = x + 4.5 * name.length > view.width; // of a long name of the last axis
  const place = standing
    ? { x: ends ? view.width : x, y: y - 14, "text-anchor": ends ? "end" : "middle" }
    : { x: 2, y: y - 7 };
  view.svg.append(svg("text", { class: "title", ...place }, name, svg("title", {}, axis.name)));
}

function shortened(text, most) {
  return text.length <= Math.max(most, 3) ? text : `${text.slice(0, Math.max(most, 3) - 1)}…`;
}

/* Rows as lines, in their order; the lines of a stroke share the shade of the last. */
function lines(view, context, rows, colourOf, { width, alpha }) {
  const { pixels, across, standing } = view;
  Object.assign(context, { lineWidth: width, globalAlpha: alpha });
  const chunk = Math.min(CHUNK, Math.ceil(rows.length / 200));
  for (let begin = 0; begin < rows.length; begin += chunk) {
    const end = Math.min(begin + chunk, rows.length);
    context.strokeStyle = colourOf(rows[end - 1]);
    context.beginPath();
    for (let k = begin; k < end; k++) {
      for (let i = 0; i < across.length; i++) {
        const pixel = pixels[i][rows[k]];
        const x = standing ? across[i] : pixel,
          y = standing ? pixel : across[i];
        if (i === 0) context.moveTo(x, y);
        else context.lineTo(x, y);
      }
    }
    context.stroke();
  }
  context.globalAlpha = 1;
}

/* Every k-th row, so that at most about `most` are left; the last, the best, stays. */
function thinned(rows, most) {
  const step = Math.ceil(rows.length / most);
  return step <= 1 ? rows : rows.filter((_, k) => (rows.length - 1 - k) % step === 0);
}

/* The row whose line is nearest to a pixel, if it is near. */
function nearest(view, rows, x, y) {
  const [main, side] = view.standing ? [x, y] : [y, x];
  const i = view.across.findIndex((place) => place > main) - 1;
  if (i < 0) return null;
  const share = (main - view.across[i]) / (view.across[i + 1] - view.across[i]);
  let found = null,
    least = 6;
  for (const row of rows) {
    const distance = Math.abs(view.pixels[i][row] * (1 - share) + view.pixels[i + 1][row] * share - side);
    if (distance < least) [found, least] = [row, distance];
  }
  return found;
}

function shadingLegend(host, run, shade) {
  const steps = SHADES.map((_, i) =>
    svg("rect", { x: 20 * i, width: 20.5, height: 12, fill: mixed(i / (SHADES.length - 1)) }),
  );
  const bar = svg("svg", { width: 120, height: 12, class: "swatch", "aria-hidden": "true" }, ...steps);
  legend(host, [
    ...(run.best === null ? [] : [{ text: `best ${run.text(run.fitness[run.best])}`, colour: BEST }]),
    ...(run.default === null
      ? []
      : [{ text: `default ${run.text(run.fitness[run.default]) || "failed"}`, colour: DEFAULT, dash: [6, 4] }]),
    ...(run.axes[run.axes.length - 1].failed ? [{ text: "failed", colour: FAILURE }] : []),
  ]);
  const [least, median, most] = [0, 0.5, 1].map((share) =>
    run.text((run.minimize ? -1 : 1) * shade.known[Math.floor(share * (shade.known.length - 1))]),
  );
  if (shade.known.length)
    host.prepend(
      element("span", {}, `${run.measure} ${least}`, bar, most),
      element("span", {}, `shades by rank, median ${median}`),
    );
}
