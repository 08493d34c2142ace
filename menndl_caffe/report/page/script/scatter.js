/* Individuals as points: by two columns, those brushed in colour, the others pale behind them. */

const MANY = 2000; // points of a plot, from which on they are small
const GOLDEN = 0.618034; // its multiples are evenly spread over whole numbers

/* A plot of individuals by `x` and `y`, each {scale, label, of(row), spread?}. `colour(row)` is that of a brushed one
   that was not stopped early. What lies beyond the scale of y is drawn at its edge. Gives the sheet with place(row), and
   shows the individual that is pointed at. */
function scatter(figure, run, chosen, { x, y, height, colour = () => ink.plain, order = (rows) => rows }) {
  const has = (row) => x.of(row) !== null && y.of(row) !== null;
  const [across, up] = [x, y].map(({ scale, label, isTitle }) => ({ scale, label, isTitle }));
  const view = plot(figure, { height, x: across, y: up });
  const sideways = sway(x, view.right - view.left),
    upwards = y.spread || y.scale.choices ? sway(y, view.bottom - view.top) : 0;
  view.has = has;
  view.place = (row) => [
    view.x(x.of(row)) + sideways * (((row * GOLDEN) % 1) - 0.5),
    Math.min(Math.max(view.y(y.of(row)), view.top), view.bottom) + upwards * (((row * Math.SQRT2) % 1) - 0.5),
  ];
  const shown = order(chosen.rows.filter(has)),
    many = run.rows.length > MANY;
  if (!chosen.isAll()) dots(view.context, view, run.rows.filter(has), () => ink.pale, many ? 1.2 : 2.2, 1);
  early(view, shown.filter(run.isStopped), many);
  dots(view.context, view, shown.filter((row) => !run.isStopped(row)), colour, many ? 1.5 : 3, many ? 0.5 : 0.7);
  pointed(figure, run, (px, py) => nearestPoint(view, shown, px, py), view);
  return view;
}

/* Those that were stopped early, where they were then: hollow, so that none is taken for one that came to its end. */
function early(view, rows, many) {
  dots(view.context, view, rows, () => ink.other, many ? 1.2 : 2.5, many ? 0.5 : 0.9, true);
}

/* The legend's word for them, and at which iterations that was; nothing where there are none. */
function earlyEntry(run) {
  const at = [...new Set(run.rows.filter(run.isStopped).map((row) => run.until[row]))].sort((a, b) => a - b).map(number);
  const last = at.pop();
  if (last === undefined) return [];
  const all = at.length > 2 ? `${at[0]} to ${last}` : at.length ? `${at.join(", ")} or ${last}` : last;
  return [{ text: `stopped early, at ${all} iterations`, colour: ink.other, kind: "hollow" }];
}

/* Pixels over which individuals of the same value are spread, so that one sees how many. */
function sway({ scale, spread }, length, most = 14) {
  const step = scale.choices
    ? 1 / scale.choices.length
    : spread
      ? spread / Math.max(scale.high - scale.low, spread)
      : 0;
  return Math.min(step * length * 0.5, scale.choices ? 4 * most : most);
}

/* Dots in the rows' order, or hollow ones. Small ones leave out what would be drawn where enough already are. */
function dots(context, view, rows, colourOf, radius, alpha, hollow = false) {
  const covered = radius < 2 ? new Uint8Array(Math.ceil(view.width) * Math.ceil(view.height)) : null;
  context.globalAlpha = alpha;
  let colour = null;
  for (const row of rows) {
    const [x, y] = view.place(row);
    if (covered) {
      const cell = Math.floor(y) * Math.ceil(view.width) + Math.floor(x);
      if (covered[cell] > 3) continue;
      covered[cell] += 1;
    }
    const wanted = colourOf(row);
    if (wanted !== colour) context.fillStyle = context.strokeStyle = colour = wanted;
    if (covered) context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    else {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      if (hollow) context.stroke();
      else context.fill();
    }
  }
  context.globalAlpha = 1;
}

/* A ring about an individual that stands out. */
function ringed(view, row, colour) {
  if (row === null || !view.has(row)) return;
  const [x, y] = view.place(row);
  spot(view, [x, y], { colour, kind: "ring" });
  view.context.fillStyle = colour;
  view.context.fillRect(x - 1.5, y - 1.5, 3, 3);
}

/* A dot, or a ring. */
function spot({ context }, [x, y], { colour, kind }) {
  context.save();
  Object.assign(context, { strokeStyle: colour, fillStyle: kind === "ring" ? ink.back : colour, lineWidth: 1.75 });
  context.beginPath();
  context.arc(x, y, kind === "ring" ? 5 : 3.5, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
  context.restore();
}

/* The row whose dot is nearest to a pixel, if it is near. */
function nearestPoint(view, rows, x, y) {
  let found = null,
    least = 100;
  for (const row of rows) {
    const [px, py] = view.place(row);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [found, least] = [row, distance];
  }
  return found;
}

/* A scale for the fitness of a plot, with what those had that were stopped early: from the worst to the best; where a
   few bad ones would take most of the room, the worst twentieth lies at its edge, and `beyond` says from where on. */
function fitnessScale(run) {
  const had = run.rows.map(run.had).filter((value) => value !== null);
  const gains = had.map((value) => (run.minimize ? -value : value)).sort((a, b) => a - b);
  if (!gains.length) return linearScale(0, 1);
  const [worst, best] = [gains[0], gains[gains.length - 1]];
  const bulk = gains[Math.floor(gains.length / 20)];
  const cut = best - worst > 3 * (best - bulk) && bulk < best;
  const low = cut ? bulk : worst,
    margin = (best - low || 0.1) * 0.05;
  const [from, to] = run.minimize ? [-best, -low] : [low, best];
  return { ...linearScale(from - margin, to + margin), beyond: cut ? Math.abs(low) : null };
}

function edgeEntry(run, scale) {
  return scale.beyond === null || scale.beyond === undefined
    ? []
    : [{ text: `worse than ${run.text(scale.beyond)}: at the edge`, colour: ink.plain, kind: "edge" }];
}
