/* What each rank did: a row a rank and a box a training; with more ranks than pixels, how busy some of them were. */

function ranks(run) {
  const figure = document.getElementById("ranks-plot");
  if (!figure) return { draw() {} };
  const trained = [];
  for (let row = 0; row < run.count; row++) if (run.same[row] === null) trained.push(row);
  const numbers = [...new Set(trained.map((row) => run.rank[row]))].sort((a, b) => a - b);
  const place = new Map(numbers.map((rank, k) => [rank, k]));
  const end = Math.max(...span(trained.map((row) => run.time[row])));
  const unit = timeUnit(end);
  const x = { scale: linearScale(0, end / unit.seconds), label: `${unit.name} of training` };
  const { isFailed } = run;
  let view,
    boxes = false;

  function draw() {
    legend(document.getElementById("ranks-legend"), [
      { text: "a training", colour: ink.busy, kind: "box" },
      ...(trained.some(isFailed) ? [{ text: "a failed one", colour: ink.failure, kind: "box" }] : []),
    ]);
    const height = Math.min(Math.max(14 * numbers.length, 24), 400);
    boxes = height / numbers.length >= 5;
    view = plot(figure, {
      height: height + 64,
      x,
      y: {
        label: "rank",
        scale: {
          at: (rank) => 1 - (place.get(rank) + 0.5) / numbers.length,
          text: (rank) => String(rank),
          ticks: () =>
            roundTicks(0, numbers.length - 1, Math.max(Math.floor(height / 24), 1), true).map((k) => numbers[k]),
        },
      },
    });
    view.thick = (view.bottom - view.top) / numbers.length;
    if (boxes) drawBoxes();
    else drawShares(shares(Math.floor(view.bottom - view.top)), view.bottom - view.top);
    drawBusy();
    pointed(figure, run, find);
  }

  /* Neighbouring boxes differ in shade; a failure has a colour of its own and is at least two pixels wide. */
  function drawBoxes() {
    const seen = new Map();
    for (const row of [...trained].sort((a, b) => run.begin[a] - run.begin[b])) {
      const rank = place.get(run.rank[row]),
        nth = seen.get(rank) || 0;
      seen.set(rank, nth + 1);
      const [from, to] = [view.x(run.begin[row] / unit.seconds), view.x(run.time[row] / unit.seconds)];
      view.context.fillStyle = isFailed(row) ? ink.failure : nth % 2 ? ink.busyToo : ink.busy;
      view.context.fillRect(
        from,
        view.top + rank * view.thick + 0.5,
        Math.max(to - from, isFailed(row) ? 2 : 0.5),
        view.thick - 1,
      );
    }
  }

  /* Busy share and failures in cells of one pixel in time and one of `most` groups of ranks. */
  function shares(most) {
    const groups = Math.min(numbers.length, most),
      width = Math.max(Math.floor(view.right - view.left), 1);
    const busy = new Float32Array(groups * width),
      failed = new Uint8Array(groups * width);
    for (const row of trained) {
      const group = Math.floor((place.get(run.rank[row]) * groups) / numbers.length) * width;
      const from = (run.begin[row] / end) * width,
        to = (run.time[row] / end) * width;
      for (let cell = Math.floor(from); cell < Math.min(to, width); cell++) {
        busy[group + cell] += Math.min(to, cell + 1) - Math.max(from, cell);
      }
      if (isFailed(row)) failed[group + Math.min(Math.floor(to), width - 1)] = 1;
    }
    const ranksOf = numbers.length / groups;
    return { groups, width, failed, busy: busy.map((share) => Math.min(share / ranksOf, 1)) };
  }

  function drawShares({ groups, width, busy, failed }, height) {
    const thick = height / groups;
    for (let group = 0; group < groups; group++) {
      for (let cell = 0; cell < width; cell++) {
        const k = group * width + cell;
        if (!busy[k] && !failed[k]) continue;
        view.context.fillStyle = failed[k] ? ink.failure : `${ink.busy}${hexadecimal(busy[k])}`;
        view.context.fillRect(
          view.left + cell,
          view.top + group * thick,
          failed[k] ? 2 : 1.05,
          Math.max(thick, failed[k] ? 2 : 0) + 0.05,
        );
      }
    }
  }

  /* Mean over all ranks, in steps of two pixels. */
  function drawBusy() {
    const small = plot(document.getElementById("busy-plot"), {
      height: 150,
      x,
      y: {
        label: "share of the ranks that trained",
        scale: linearScale(0, 1),
        text: (share) => `${Math.round(100 * share)}%`,
      },
    });
    const n = Math.max(Math.floor((small.right - small.left) / 2), 1),
      busy = new Float64Array(n);
    for (const row of trained) {
      const from = (run.begin[row] / end) * n,
        to = (run.time[row] / end) * n;
      for (let cell = Math.floor(from); cell < Math.min(to, n); cell++)
        busy[cell] += Math.min(to, cell + 1) - Math.max(from, cell);
    }
    const points = [...busy].flatMap((sum, k) =>
      [k, k + 1].map((cell) => [
        small.left + (cell * (small.right - small.left)) / n,
        small.y(Math.min(sum / numbers.length, 1)),
      ]),
    );
    stroke(small.context, points, { colour: ink.shades[4], width: 1.5 });
  }

  function find(px, py) {
    const rank = Math.floor((py - view.top) / view.thick);
    const moment = ((px - view.left) / (view.right - view.left)) * end,
      slack = (end / (view.right - view.left)) * 2;
    if (rank < 0 || rank >= numbers.length) return null;
    const there = trained.filter(
      (row) => place.get(run.rank[row]) === rank && run.begin[row] - slack <= moment && run.time[row] + slack >= moment,
    );
    return there.find(isFailed) ?? there[0] ?? null;
  }

  return { draw, boxes: () => trained.map((row) => [run.rank[row], run.begin[row], run.time[row]]) };
}

/* The two digits of an opacity, in twenty steps. */
function hexadecimal(share) {
  return Math.round((255 * Math.round(share * 20)) / 20)
    .toString(16)
    .padStart(2, "0");
}
