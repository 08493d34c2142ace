/* Brushing: ranges on the axes of the parallel coordinates, by pointer. */

const GRIP = 7; // pixels about the end of a brush that move the end alone
const OUTSIDE = 14; // pixels beyond an axis's ends where a brush may begin

/* A rail over every axis: drag to brush, drag a brush or its end to move it, click to remove it. */
function brushing(view, run, chosen, arranged) {
  const boxes = run.axes.map((axis, i) => {
    const box = svg("rect", { class: "brush", visibility: "hidden" });
    const ends = lowest(axis) < 0 ? [arranged.shown(i, lowest(axis)), arranged.flipped.has(i) ? 0 : 1] : [0, 1];
    const rail = svg("rect", { class: "rail", "data-axis": axis.name, ...around(view, i, ends.map(view.along)) });
    rail.style.touchAction = view.standing ? "pan-x" : "pan-y";
    drag(rail, view, chosen, i);
    view.svg.append(box, rail);
    return box;
  });
  view.showBrushes = () =>
    boxes.forEach((box, i) => {
      const range = chosen.brushes.get(i);
      box.setAttribute("visibility", range ? "visible" : "hidden");
      if (range) filled(box, around(view, i, brushEnds(view, i, range), 8, 0), []);
    });
}

/* The rectangle about a stretch of axis i. */
function around(view, i, pixels, margin = 13, outside = OUTSIDE) {
  const [low, high] = [Math.min(...pixels) - outside, Math.max(...pixels) + outside];
  const [x, y] = view.at(i, low);
  const size = Math.max(high - low, 1);
  return view.standing
    ? { x: x - margin, y, width: 2 * margin, height: size }
    : { x, y: y - margin, width: size, height: 2 * margin };
}

/* The pixels at which a brush is drawn to end: the lines of its last values lie inside. */
function brushEnds(view, i, [low, high]) {
  const [a, b] = [view.pixel(i, low), view.pixel(i, high)];
  const margin = view.swing[i] / 2 + 4,
    sign = a > b || (a === b && view.standing) ? 1 : -1;
  return [a + sign * margin, b - sign * margin];
}

function drag(rail, view, chosen, i) {
  let start = null;
  const pixelOf = (event) => {
    const box = view.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  rail.onpointerenter = () => view.prepare(); // so that the first step of a drag is as fast as the others
  rail.onpointerdown = (event) => {
    const [x, y] = pixelOf(event);
    start = { ...grasped(view, chosen, i, view.standing ? y : x), at: view.back(i, x, y), moved: false };
    rail.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  rail.onpointermove = (event) => {
    if (!start) return;
    const [x, y] = pixelOf(event);
    start.moved = start.moved || Math.abs((view.standing ? y : x) - start.pixel) > GRIP / 2;
    if (start.moved) chosen.set(i, chosen.snapped(i, dragged(start, view.back(i, x, y))), false);
  };
  rail.onpointerup = () => {
    if (!start) return;
    chosen.set(i, start.moved ? chosen.brushes.get(i) : undefined);
    start = null;
  };
  rail.onpointercancel = rail.onpointerup;
  rail.onclick = (event) => event.stopPropagation();
}

/* What a press at this pixel takes hold of: `kept` is the end that stays when the other one was taken, `range` the brush
   that is moved as a whole; neither where a new one begins. */
function grasped(view, chosen, i, pixel) {
  const range = chosen.brushes.get(i);
  if (!range) return { pixel, range: null, kept: null };
  const [low, high] = brushEnds(view, i, range);
  if (pixel < Math.min(low, high) - GRIP || pixel > Math.max(low, high) + GRIP)
    return { pixel, range: null, kept: null };
  const [toLow, toHigh] = [Math.abs(pixel - low), Math.abs(pixel - high)];
  if (Math.min(toLow, toHigh) > GRIP) return { pixel, range, kept: null };
  return { pixel, range: null, kept: toLow < toHigh ? range[1] : range[0] };
}

/* The range after a drag to a place: from the end that is kept or where it began, or the whole range moved. */
function dragged(start, at) {
  if (!start.range) {
    const from = start.kept ?? start.at;
    return [Math.min(from, at), Math.max(from, at)];
  }
  const [low, high] = start.range;
  const shift = Math.min(Math.max(at - start.at, Math.min(low, 0) - low), 1 - high);
  return [low + shift, high + shift];
}
