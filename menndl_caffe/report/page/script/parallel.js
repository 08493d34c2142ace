/* Parallel coordinates of all individuals, as in EDEN: a line each, brushed by dragging along the axes.
   Where standing axes would be too close they lie, one below the other, and the lines run down. */

const BETWEEN = 84; // pixels between standing axes, at least
const CHUNK = 16; // lines of one stroke, where there are many: where lines of several strokes meet it gets darker
const WHILE_DRAGGING = 1000; // lines that are drawn while a brush is dragged
const BEHIND = 2000; // lines that show where the individuals are that are not brushed

function parallel(run, chosen, arranged) {
  const figure = document.getElementById("parallel");
  const order = new Float64Array(run.count); // the best are drawn last, on top
  for (const row of run.rows) order[row] = run.gain(row) ?? -Infinity;
  const all = [...run.rows].sort((a, b) => (order[a] === order[b] ? 0 : order[a] - order[b]));
  let view,
    colours,
    waiting = 0;

  function draw() {
    const shade = shading(run.rows.map(run.gain));
    colours = new Map(run.rows.map((row) => [row, shadeOf(run, shade, row)]));
    shadingLegend(document.getElementById("parallel-legend"), run, shade);
    view = parallelView(figure, run, chosen, arranged);
    view.prepare = showBehind;
    brushing(view, run, chosen, arranged);
    handles(view, run, chosen, arranged);
    if (!chosen.isAll()) showBehind();
    paint(true);
    pointed(figure, run, (x, y) => nearest(view, chosen.rows, x, y), view, view.line);
  }

  function showBehind() {
    if (view.behind) return;
    view.behind = layer(view.width, view.height);
    figure.prepend(view.behind);
    lines(view, view.behind.getContext("2d"), thinned(all, BEHIND), () => ink.pale, { width: 1, alpha: 0.6 });
  }

  function paint(done) {
    const rows = chosen.isAll() ? all : all.filter((row) => chosen.has[row]);
    const some = done ? rows : thinned(rows, WHILE_DRAGGING);
    if (view.painted) view.context.clearRect(0, 0, view.width, view.height); // printed, what is cleared hides all below
    view.painted = true;
    lines(
      view,
      view.context,
      some,
      (row) => colours.get(row),
      lookOfMany(some.length, done),
    );
    if (run.default !== null)
      stroke(view.context, view.line(run.default), { colour: ink.default, width: 2, dash: [6, 4] });
    if (run.best !== null) stroke(view.context, view.line(run.best), { colour: ink.best, width: 2.5 });
    if (view.behind) view.behind.hidden = chosen.isAll();
    view.showBrushes();
  }

  chosen.onChange((done) => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      if (!chosen.isAll()) showBehind();
      paint(done);
    });
  });
  arranged.onChange(draw);
  return {
    draw,
    lines: () => all.map((row) => [run.id[row], run.axes.map((_, i) => view.at(i, view.pixels[i][row]))]),
  };
}

/* Lines of one device pixel are drawn ten times as fast as wider ones where there is no graphics processor. */
function lookOfMany(count, done) {
  if (!done) return { width: 1 / Math.min(window.devicePixelRatio || 1, 2), alpha: count > 300 ? 0.6 : 0.85 };
  return count > 3000 ? { width: 0.8, alpha: 0.3 } : { width: count > 300 ? 1 : 1.2, alpha: count > 300 ? 0.6 : 0.85 };
}

/* Where axes and lines are. `along(shown)` is the pixel of what is shown there on an axis, `pixel(i, place)` that of a
   place on axis i, `across[k]` where the k-th axis stands, `at(i, pixel)` a point on axis i. */
function parallelView(figure, run, chosen, arranged) {
  const axes = run.axes,
    n = axes.length,
    { order } = arranged;
  const width = Math.max(figure.clientWidth, 240);
  const standing = (width - 90) / (n - 1) >= BETWEEN;
  const page = sheet(figure, standing ? 460 : 34 + 62 * n);
  page.svg.before(page.canvas); // axes above the lines
  const [below, above] = [false, true].map((flipped) =>
    Math.max(...axes.map((axis, i) => (arranged.flipped.has(i) === flipped ? -lowest(axis) : 0))),
  );
  const [from, to] = standing ? [page.height - 38, 44] : [16, width - 16];
  const along = (shown) => from + ((shown + below) / (1 + below + above)) * (to - from);
  const across = axes.map((_, k) => (standing ? 50 + (k * (width - 90)) / (n - 1) : 30 + 62 * k));
  const slotOf = new Map(order.map((axis, k) => [axis, k]));
  const at = (i, pixel) => (standing ? [across[slotOf.get(i)], pixel] : [pixel, across[slotOf.get(i)]]);
  const pixel = (i, place) => along(arranged.shown(i, place));
  const unit = Math.abs(along(1) - along(0));
  const swing = axes.map((axis, i) => {
    const [low, high] = arranged.zoomed.get(i) || [0, 1];
    return sway(axis, unit / (high - low), 9);
  });
  const pixels = axes.map((_, i) =>
    chosen.positions[i].map((place, row) => pixel(i, place) + swing[i] * (((row * GOLDEN) % 1) - 0.5)),
  );
  /* An individual's points; those of the default, which has no place on the axis of the generations. */
  const line = (row) =>
    order.map((i) => {
      if (run.individual[row]) return at(i, pixels[i][row]);
      const value = axes[i].of(row);
      if (value === null && !axes[i].missing) return null;
      return at(i, pixel(i, value === null ? axes[i].missing(row) : axes[i].scale.at(value)));
    });
  const back = (i, x, y) =>
    arranged.back(i, (((standing ? y : x) - from) / (to - from)) * (1 + below + above) - below);
  const inOrder = order.map((i) => pixels[i]);
  const view = { ...page, standing, along, across, at, pixel, pixels, inOrder, line, swing, back, slotOf, behind: null };
  order.forEach((i) => drawAxis(view, axes[i], i, arranged));
  return view;
}

/* The lowest place on an axis: 0, or below it where some have no value. */
function lowest(axis) {
  return axis.below && axis.below.length ? axis.below[0][0] : 0;
}

function drawAxis(view, axis, i, arranged) {
  const { standing, along, at } = view;
  const line = (a, b) => ({ x1: a[0], y1: a[1], x2: b[0], y2: b[1] });
  const range = arranged.zoomed.get(i);
  view.svg.append(svg("line", { class: range ? "axis zoomed" : "axis", ...line(at(i, along(0)), at(i, along(1))) }));
  const length = Math.abs(along(1) - along(0));
  const scale = range ? axis.scale.part(...range) : axis.scale;
  const ticks = scale
    .ticks(standing ? 9 : Math.floor(length / 62))
    .map((tick) => [axis.scale.at(tick), axis.scale.text(tick)])
    .filter(([place]) => !range || (place > range[0] - 1e-9 && place < range[1] + 1e-9));
  ticks.push(...(axis.below || []).filter(([place]) => standing || place === FAILED)); // lying there is no room for both
  const room = standing ? view.across[1] - view.across[0] : length / (axis.scale.choices ? ticks.length : 1);
  for (const [place, text] of ticks) drawTick(view, i, arranged.shown(i, place), text, room, place < 0);
  drawName(view, axis, i, standing ? room : length - 100);
}

function drawTick(view, i, shown, text, room, isBelow) {
  const { standing, at, along, slotOf } = view;
  const [x, y] = at(i, along(shown));
  const words = shortened(text, Math.floor(Math.min(room * 0.8, standing && slotOf.get(i) === 0 ? 42 : 400) / 7));
  const anchor = standing ? "end" : shown <= 0.02 ? "start" : shown > 0.98 ? "end" : "middle";
  view.svg.append(
    svg(
      "text",
      {
        class: "tick",
        x: standing ? x - 5 : isBelow && shown < 0 ? Math.max(x - 14, 0) : Math.max(x, 2),
        y: standing ? y + 4 : y + 16,
        "text-anchor": anchor,
      },
      words,
      svg("title", {}, text),
    ),
  );
}

function drawName(view, axis, i, room) {
  const [x, y] = view.at(i, view.standing ? 20 : 2);
  const name = shortened(axis.name, Math.floor(room / 8));
  const ends = x + 4.5 * name.length > view.width; // of a long name of the last axis
  const place = view.standing
    ? { x: ends ? view.width : x, y, "text-anchor": ends ? "end" : "middle" }
    : { x: 2, y: y - 7 };
  view.names = view.names || new Map();
  view.names.set(i, svg("text", { class: "title", ...place }, name, svg("title", {}, axis.name)));
  view.svg.append(view.names.get(i));
}

function shortened(text, most) {
  return text.length <= Math.max(most, 3) ? text : `${text.slice(0, Math.max(most, 3) - 1)}…`;
}

/* Rows as lines, in their order; the lines of a stroke share the shade of the last. */
function lines({ inOrder, across, standing }, context, rows, colourOf, { width, alpha }) {
  Object.assign(context, { lineWidth: width, globalAlpha: alpha });
  const chunk = Math.min(CHUNK, Math.ceil(rows.length / 200));
  for (let begin = 0; begin < rows.length; begin += chunk) {
    const end = Math.min(begin + chunk, rows.length);
    context.strokeStyle = colourOf(rows[end - 1]);
    context.beginPath();
    for (let k = begin; k < end; k++) {
      for (let i = 0; i < across.length; i++) {
        const pixel = inOrder[i][rows[k]];
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
  const k = view.across.findIndex((place) => place > main) - 1;
  if (k < 0) return null;
  const share = (main - view.across[k]) / (view.across[k + 1] - view.across[k]);
  let found = null,
    least = 6;
  for (const row of rows) {
    const distance = Math.abs(view.inOrder[k][row] * (1 - share) + view.inOrder[k + 1][row] * share - side);
    if (distance < least) [found, least] = [row, distance];
  }
  return found;
}

/* The shades with their values, best and default: with lines or, of `kind`, with rings. */
function shadingLegend(host, run, shade, kind = "line") {
  const steps = ink.shades.map((_, i) =>
    svg("rect", { x: 20 * i, width: 20.5, height: 12, fill: mixed(i / (ink.shades.length - 1)) }),
  );
  const bar = svg("svg", { width: 120, height: 12, class: "swatch", "aria-hidden": "true" }, ...steps);
  legend(host, [
    ...(run.best === null ? [] : [{ text: `best ${run.text(run.fitness[run.best])}`, colour: ink.best, kind }]),
    ...(run.default === null
      ? []
      : [
          {
            text: `default ${run.text(run.fitness[run.default]) || "failed"}`,
            colour: ink.default,
            dash: [6, 4],
            kind,
          },
        ]),
    ...run.axes[run.axes.length - 1].below.map(([place, text]) => ({
      ...(place === STOPPED ? earlyEntry(run)[0] : { text, colour: ink.failure, kind: "dot" }),
      ...(kind === "line" ? { kind } : {}),
    })),
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
