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
   gain(row)  the fitness so that more is better; null where it failed
   text(value) a fitness as it reads
   records    rows in which the best so far rose
   rowOf(id)  the row of a trial */
function prepared(data) {
  const run = { ...data, rows: [], records: [], count: data.id.length };
  for (let row = 0; row < run.count; row++) if (data.individual[row]) run.rows.push(row);
  run.gain = (row) => (data.fitness[row] === null ? null : data.minimize ? -data.fitness[row] : data.fitness[row]);
  run.text = textOfMeasure(data.measure);
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
    failed: run.rows.some((row) => run.fitness[row] === null),
  });
  for (const axis of axes) axis.text = (row) => (axis.of(row) === null ? "–" : axis.scale.text(axis.of(row)));
  axes[axes.length - 1].text = (row) => run.text(run.fitness[row]) || run.statuses[run.status[row]];
  return axes;
}

/* Which individuals are brushed: all, or those inside of the range of every brushed axis.
   A range is [low, high] on the axis's unit scale; FAILED stands for what has no value there. */
const FAILED = -0.12;

function selection(run) {
  const listeners = [];
  const brushes = new Map();
  const positions = run.axes.map((axis) => {
    const places = new Float32Array(run.count);
    for (const row of run.rows) {
      const value = axis.of(row);
      places[row] = value === null ? FAILED : axis.scale.at(value);
    }
    return places;
  });
  const chosen = {
    brushes,
    positions,
    rows: run.rows,
    onChange: (listener) => listeners.push(listener),
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
      const ranges = [...brushes].map(([axis, [low, high]]) => [positions[axis], low - 1e-6, high + 1e-6]);
      chosen.rows =
        ranges.length === 0
          ? run.rows
          : run.rows.filter((row) => ranges.every(([places, low, high]) => places[row] >= low && places[row] <= high));
      for (const listener of listeners) listener(done);
    },
  };
  return chosen;
}
