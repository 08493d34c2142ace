/* The columns of a run, the individuals among its rows, and which of them are brushed. */

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/* A run's data with what is derived from it:
   rows       the rows of individuals, in the order of their coming (rows of the default and of the test left out)
   axes       generation, every gene, fitness: {name, scale, of(row) -> value or null, text(row)}
   measured   what was measured of the nets, if anything: {name, of(row) -> value or null, text(row)}
   span       [lowest, highest] fitness of the individuals and the default; null where all failed
   gain(row)  the fitness so that more is better; null where it failed or was stopped early
   isStopped(row), isFailed(row)  whether it was stopped early, or failed
   had(row)   the fitness, or of one that was stopped what it was then; null where it failed
   ending(row) what became of it: its fitness, or how it ended
   text(value) a fitness as it reads
   records    rows in which the best so far rose
   rowOf(id)  the row of a trial */
function prepared(data) {
  const run = { ...data, rows: [], records: [], count: data.id.length };
  for (let row = 0; row < run.count; row++) if (data.individual[row]) run.rows.push(row);
  run.gain = (row) => (data.fitness[row] === null ? null : data.minimize ? -data.fitness[row] : data.fitness[row]);
  run.text = textOfMeasure(data.measure);
  run.isStopped = (row) => data.statuses[data.status[row]] === "stopped";
  run.isFailed = (row) => data.fitness[row] === null && !run.isStopped(row);
  run.had = (row) => (run.isStopped(row) ? data.reached[row] : data.fitness[row]);
  run.state = (row) => data.statuses[data.status[row]] + (run.isStopped(row) ? ` at ${number(data.until[row])}` : "");
  run.progress = (row) => (run.isFailed(row) ? -1 : (data.until[row] ?? Infinity)); // how far it came, with rungs
  run.ending = (row) => run.text(data.fitness[row]) || run.state(row);
  let best = -Infinity;
  for (const row of run.rows) {
    const gain = run.gain(row);
    if (gain !== null && gain > best) {
      best = gain;
      run.records.push(row);
    }
  }
  run.best = run.records.length ? run.records[run.records.length - 1] : null;
  run.default = "default" in data.role ? data.role.default : null;
  run.span = span([...run.rows, ...(run.default === null ? [] : [run.default])].map((row) => data.fitness[row]));
  const rowOf = new Map(data.id.map((id, row) => [id, row]));
  run.rowOf = (id) => rowOf.get(id);
  run.axes = axesOf(run);
  run.measured = measuredOf(run);
  return run;
}

/* How a value of a measure reads: accuracies and losses with four decimals, others as numbers do. */
function textOfMeasure(measure) {
  return measure === "accuracy" || measure === "loss"
    ? fixed
    : (value) => (value === null || value === undefined ? "" : number(value));
}

function measuredOf(run) {
  const forms = {
    parameters: ["parameters", number],
    multiply_adds: ["multiply-adds", (value) => `${number(value / 1e6)} M`],
  };
  return Object.entries(run.measures).map(([key, values]) => {
    const [name, form] = forms[key] || [key, textOfMeasure(key)];
    return { name, of: (row) => values[row], text: (row) => (values[row] === null ? "–" : form(values[row])) };
  });
}

function span(values) {
  let low = Infinity,
    high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

function axesOf(run) {
  const generations = span(run.rows.map((row) => run.generation[row])) || [1, 1];
  const axes = [{ name: run.stage, scale: wholeScale(...generations), of: (row) => run.generation[row] }];
  run.genes.forEach((gene, i) =>
    axes.push({
      name: gene.name,
      gene,
      scale: geneScale(gene),
      of: (row) => run.values[i][row],
      spread: gene.step || 0,
    }),
  );
  axes[0].spread = 1;
  axes.push({
    name: run.measure,
    scale: (run.minimize ? downwards : (scale) => scale)(linearScale(...(run.span || [0, 1]))),
    of: (row) => run.fitness[row],
    below: [
      ...(run.rows.some(run.isFailed) ? [[FAILED, "failed"]] : []),
      ...(run.rows.some(run.isStopped) ? [[STOPPED, "stopped"]] : []),
    ],
    missing: (row) => (run.isStopped(row) ? STOPPED : FAILED),
  });
  for (const axis of axes) axis.text = (row) => (axis.of(row) === null ? "–" : axis.scale.text(axis.of(row)));
  axes[axes.length - 1].text = run.ending;
  return axes;
}

/* Which individuals are brushed: all, or those inside of the range of every brushed axis.
   A range is [low, high] on the axis's unit scale; FAILED stands for what has no value there, STOPPED for what was
   stopped before it had one. An axis's `below` has those of the two that occur on it, the lowest first. */
const FAILED = -0.125, // exact in a Float32Array
  STOPPED = -0.0625;

function selection(run) {
  const listeners = [],
    later = [];
  let waiting = 0;
  const brushes = new Map();
  const positions = run.axes.map((axis) => {
    const places = new Float32Array(run.count);
    for (const row of run.rows) {
      const value = axis.of(row);
      places[row] = value !== null ? axis.scale.at(value) : axis.missing ? axis.missing(row) : FAILED;
    }
    return places;
  });
  const has = new Uint8Array(run.count).fill(1);
  const chosen = {
    brushes,
    positions,
    rows: run.rows,
    has, // by row, whether it is among `rows`
    snapped: snapping(run, positions),
    onChange: (listener) => listeners.push(listener),
    /* Heard when a brush is let go, one listener after the other, so that the page answers in between. */
    onSettled: (listener) => later.push(listener),
    isAll: () => brushes.size === 0,
    /* `done` is false while a brush is still being dragged. */
    set(axis, range, done = true) {
      if (range) brushes.set(axis, range);
      else brushes.delete(axis);
      chosen.update(done);
    },
    clear() {
      brushes.clear();
      chosen.update(true);
    },
    update(done) {
      has.fill(1);
      for (const [axis, [low, high]] of brushes) {
        const places = positions[axis];
        for (let row = 0; row < run.count; row++)
          if (!(places[row] >= low - 1e-6 && places[row] <= high + 1e-6)) has[row] = 0;
      }
      chosen.rows = chosen.isAll() ? run.rows : run.rows.filter((row) => has[row]);
      for (const listener of listeners) listener(done);
      clearTimeout(waiting);
      if (done) inTurn(later, 0);
    },
  };
  function inTurn(left, k) {
    if (k < left.length)
      waiting = setTimeout(() => {
        left[k]();
        inTurn(left, k + 1);
      });
  }
  return chosen;
}

/* Moves the ends of a range to values: of whole numbers and choices to those that there are, else to those of the
   individuals. A range without any becomes the nearest one. */
function snapping(run, positions) {
  const known = new Map();
  const valuesOf = (i) => {
    if (!known.has(i)) known.set(i, possible(run, run.axes[i], positions[i]));
    return known.get(i);
  };
  return (i, [low, high]) => {
    const places = valuesOf(i);
    const first = places.findIndex((place) => place >= low - 1e-6);
    const last = places.findLastIndex((place) => place <= high + 1e-6);
    if (first >= 0 && last >= first) return [places[first], places[last]];
    const middle = (low + high) / 2;
    const nearest = places.reduce((a, b) => (Math.abs(b - middle) < Math.abs(a - middle) ? b : a));
    return [nearest, nearest];
  };
}

/* The places on an axis where a value can be, upwards. */
function possible(run, { scale, gene, spread, below = [] }, places) {
  const own = scale.choices
    ? scale.choices.map((_, k) => scale.at(k))
    : gene && spread
      ? Array.from({ length: Math.floor((gene.high - gene.low) / spread + 1e-9) + 1 }, (_, k) => scale.at(gene.low + k * spread))
      : run.rows.map((row) => places[row]);
  return [...new Set([...below.map(([place]) => place), ...own])].sort((a, b) => a - b);
}
