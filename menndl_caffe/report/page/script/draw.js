/* What every plot shares: elements, a canvas with an SVG, axes, legends, the hint that follows the pointer. */

/* An HTML element with attributes and children; texts become text, never markup. `on` holds listeners. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(made, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children);
  return made;
}

/* Empties a figure and gives it an SVG of this height and a canvas above it, both in CSS pixels. */
function sheet(figure, height) {
  const width = Math.max(figure.clientWidth, 240);
  figure.style.height = `${height}px`;
  const canvas = layer(width, height);
  const below = svg("svg", { width, height, "aria-hidden": "true" });
  figure.replaceChildren(below, canvas);
  return { width, height, canvas, svg: below, context: canvas.getContext("2d") };
}

function layer(width, height) {
  const ratio = document.documentElement.classList.contains("printing") ? 3 : Math.min(window.devicePixelRatio || 1, 2);
  const canvas = element("canvas", { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.lineJoin = "round";
  return canvas;
}

/* A plot with two axes: x and y are {scale, label, text?, least?}; `least` is the letters for which the labels of y
   leave room. Gives the sheet with x(value) and y(value) in pixels.
   The area that data may cover is left..right, top..bottom. */
function plot(figure, { height, x, y }) {
  const page = sheet(figure, height);
  const texts = (axis, most) => axis.scale.ticks(most).map((tick) => [tick, (axis.text || axis.scale.text)(tick)]);
  const yTicks = texts(y, Math.floor((height - 64) / 28));
  const left = 14 + Math.max(...yTicks.map(([, text]) => 7 * text.length), 7 * (y.least || 3));
  const right = page.width - 14,
    top = 26,
    bottom = height - 38;
  const px = (value) => left + x.scale.at(value) * (right - left);
  const py = (value) => bottom - y.scale.at(value) * (bottom - top);
  for (const [tick, text] of yTicks) {
    page.svg.append(
      svg("line", { class: "grid", x1: left, x2: right, y1: py(tick), y2: py(tick) }),
      svg("text", { x: left - 6, y: py(tick) + 4, "text-anchor": "end" }, text),
    );
  }
  const widest = Math.max(...texts(x, 6).map(([, text]) => 7 * text.length), 10);
  for (const [tick, text] of texts(x, Math.min(Math.floor((right - left) / (widest + 22)), 12))) {
    const end = px(tick) + 3.5 * text.length > page.width;
    page.svg.append(
      svg("line", { class: "axis", x1: px(tick), x2: px(tick), y1: bottom, y2: bottom + 4 }),
      svg("text", { x: end ? page.width : px(tick), y: bottom + 17, "text-anchor": end ? "end" : "middle" }, text),
    );
  }
  page.svg.append(
    svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    svg(
      "text",
      { class: y.isTitle ? "title" : "soft", x: 0, y: 13 },
      shortened(y.label, Math.floor(page.width / (y.isTitle ? 9.5 : 7))),
      svg("title", {}, y.label),
    ),
  );
  if (x.label) page.svg.append(svg("text", { class: "soft", x: right, y: height - 5, "text-anchor": "end" }, x.label));
  return { ...page, left, right, top, bottom, x: px, y: py };
}

/* A line through points [x, y] in pixels; null breaks it. */
function stroke(context, points, { colour, width = 1.5, dash = [], alpha = 1 }) {
  context.save();
  Object.assign(context, { strokeStyle: colour, lineWidth: width, globalAlpha: alpha });
  context.setLineDash(dash);
  context.beginPath();
  let down = false;
  for (const point of points) {
    if (point && down) context.lineTo(...point);
    else if (point) context.moveTo(...point);
    down = point !== null;
  }
  context.stroke();
  context.restore();
}

/* A level line over the whole plot. */
function level(view, value, style) {
  const y = view.y(value);
  stroke(view.context, [[view.left, y], [view.right, y]], style);
}

/* Entries are {text, colour, dash?, kind: "line" | "dot" | "hollow" | "ring" | "cross" | "edge" | "box"}. */
function legend(host, entries) {
  host.replaceChildren(...entries.map((entry) => element("span", {}, swatch(entry), entry.text)));
}

const SMALL_MARKS = {
  dot: (colour) => svg("circle", { cx: 12, cy: 6, r: 3.5, fill: colour }),
  hollow: (colour) => svg("circle", { cx: 12, cy: 6, r: 3, fill: "none", stroke: colour }),
  ring: (colour) => svg("circle", { cx: 12, cy: 6, r: 4.5, fill: "none", stroke: colour, "stroke-width": 1.75 }),
  cross: (colour) => svg("path", { d: "M8 2l8 8M8 10l8 -8", stroke: colour, "stroke-width": 1.75 }),
  edge: (colour) => svg("path", { d: "M4 11H20M12 8v-5", stroke: colour, "stroke-width": 1.75 }),
};

function swatch({ colour, dash = [], kind = "line" }) {
  const mark =
    kind in SMALL_MARKS
      ? SMALL_MARKS[kind](colour)
      : kind === "box"
        ? svg("rect", { x: 2, y: 0, width: 20, height: 12, fill: colour })
        : svg("line", {
            x1: 0,
            x2: 24,
            y1: 6,
            y2: 6,
            stroke: colour,
            "stroke-width": 2.5,
            "stroke-dasharray": dash.join(" "),
          });
  return svg("svg", { width: 24, height: 12, class: "swatch", "aria-hidden": "true" }, mark);
}

/* The hint beside the pointer, with this content; nothing hides it. */
function hint(event, ...content) {
  const box = document.getElementById("hint");
  box.hidden = content.length === 0;
  if (box.hidden) return;
  box.replaceChildren(...content);
  const { width, height } = box.getBoundingClientRect();
  const beside = event.clientX + 16 + width > window.innerWidth ? event.clientX - width - 12 : event.clientX + 16;
  box.style.left = `${Math.max(4, beside)}px`;
  box.style.top = `${Math.max(4, Math.min(event.clientY + 12, window.innerHeight - height - 4))}px`;
}

/* Calls `find(x, y)` with the pointer's place on a figure: hint and click for the row that it gives, if any. With a
   view that row is marked: a ring about its place, or with `line(row)` a line through these points. */
function pointed(figure, run, find, view = null, line = null) {
  const place = (event) => {
    const box = figure.getBoundingClientRect();
    return find(event.clientX - box.left, event.clientY - box.top);
  };
  const show = (event, row) => {
    figure.style.cursor = row === null ? "" : "pointer";
    if (view) mark(view, row === null ? [] : line ? line(row) : [view.place(row)]);
    hint(event, ...(row === null ? [] : described(run, row)));
  };
  figure.onpointermove = (event) => show(event, event.buttons ? null : place(event));
  figure.onpointerleave = (event) => show(event, null);
  figure.onclick = (event) => {
    const row = place(event);
    if (row !== null) run.show(row);
  };
}

/* Marks one point with a ring, or a line through several; none takes the mark away. */
function mark(view, points) {
  if (!view.over) {
    view.over = svg("svg", { width: view.width, height: view.height, class: "over", "aria-hidden": "true" });
    view.canvas.parentNode.append(view.over);
  }
  const known = points.filter((point) => point !== null);
  const look = { class: "mark", fill: "none", "stroke-width": 2.5 };
  const drawn =
    known.length === 1
      ? svg("circle", { cx: known[0][0], cy: known[0][1], r: 7, ...look })
      : svg("polyline", { points: known.join(" "), ...look });
  view.over.replaceChildren(...(known.length ? [drawn] : []));
}
