/* How the axes of the parallel coordinates stand: their order, those that are flipped, and to what one is zoomed. */

const BEYOND = 0.05; // how far outside of its axis a line is drawn whose value the zoom leaves out
const BULK = 0.9; // of the individuals that a zoom shows

/* Axes are numbered as in run.axes; places are those of selection(): from 0 to 1, below 0 for what has
   no value. */
function arrangement(run) {
  const listeners = [];
  const asAtFirst = () => [...run.axes.keys()];
  const arranged = {
    order: asAtFirst(),
    flipped: new Set(),
    zoomed: new Map(),
    onChange: (listener) => listeners.push(listener),
    changed: () => listeners.forEach((listener) => listener()),
    isPlain: () => !arranged.flipped.size && !arranged.zoomed.size && arranged.order.every((axis, k) => axis === k),
    /* Where on the drawn axis a place is; 0 is its beginning, 1 its end. */
    shown(axis, place) {
      const [low, high] = arranged.zoomed.get(axis) || [0, 1];
      const inside = place < 0 ? place : (place - low) / (high - low);
      const kept = place < 0 ? place : Math.min(Math.max(inside, -BEYOND), 1 + BEYOND);
      return arranged.flipped.has(axis) ? 1 - kept : kept;
    },
    /* The place that is shown there. */
    back(axis, shown) {
      const at = arranged.flipped.has(axis) ? 1 - shown : shown;
      const below = (run.axes[axis].below || []).find(([place]) => at < 0.7 * place);
      if (below) return below[0];
      const [low, high] = arranged.zoomed.get(axis) || [0, 1];
      if (at < -BEYOND / 2) return 0;
      if (at > 1 + BEYOND / 2) return 1;
      return low + Math.min(Math.max(at, 0), 1) * (high - low);
    },
    move(axis, slot) {
      arranged.order = arranged.order.filter((other) => other !== axis);
      arranged.order.splice(Math.min(Math.max(slot, 0), arranged.order.length), 0, axis);
      arranged.changed();
    },
    flip(axis) {
      if (!arranged.flipped.delete(axis)) arranged.flipped.add(axis);
      arranged.changed();
    },
    /* To the whole axis without a range. */
    zoom(axis, range) {
      if (range) arranged.zoomed.set(axis, range);
      else arranged.zoomed.delete(axis);
      arranged.changed();
    },
    reset() {
      arranged.order = asAtFirst();
      arranged.flipped.clear();
      arranged.zoomed.clear();
      arranged.changed();
    },
  };
  return arranged;
}

/* What a zoom of an axis shows: what is brushed on it, else the narrowest part with BULK of the brushed individuals and
   the best. */
function closeUp(run, chosen, axis) {
  const range = chosen.brushes.get(axis);
  const [low, high] = range || bulk(run, chosen, axis);
  const step = stepOf(run.axes[axis]);
  const margin = step ? step / 2 : Math.max(0.04 * (high - low), 0.0005);
  return [Math.max(low - margin, 0), Math.min(high + margin, 1)];
}

function bulk(run, chosen, axis) {
  const places = chosen.positions[axis];
  const known = Float64Array.from(chosen.rows.map((row) => places[row]).filter((place) => place >= 0)).sort();
  if (!known.length) return [0, 1];
  const inside = Math.ceil(BULK * known.length);
  let from = 0;
  for (let k = 0; k + inside <= known.length; k++)
    if (known[k + inside - 1] - known[k] < known[from + inside - 1] - known[from]) from = k;
  const best = run.best === null ? known[from] : places[run.best];
  return [Math.min(known[from], best), Math.max(known[from + inside - 1], best)];
}

/* Between two values of an axis, on its unit scale; 0 where they have none between them. */
function stepOf({ scale, spread }) {
  if (scale.choices) return 1 / scale.choices.length;
  return spread ? Math.min(spread / (scale.high - scale.low), 1) : 0;
}
