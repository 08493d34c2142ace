/* Brushing: ranges on the axes of the parallel coordinates, by pointer or by typing. */

const GRIP = 7; // pixels about the end of a brush that move the end alone

/* A rail over every axis: drag to brush, drag a brush or its end to move it, click to remove it. */
function brushing(view, axes, chosen) {
  const boxes = axes.map((_, i) => {
    const box = svg("rect", { class: "brush", visibility: "hidden" });
    const [a, b] = [view.at(i, view.along(FAILED) + (view.standing ? 8 : -8)), view.at(i, view.along(1))];
    const rail = svg("rect", { class: "rail", "data-axis": axes[i].name, ...around(a, b, 13) });
    rail.style.touchAction = view.standing ? "pan-x" : "pan-y";
    drag(rail, view, chosen, i, axes[i].failed ? FAILED : 0);
    view.svg.append(box, rail);
    return box;
  });
  view.showBrushes = () =>
    boxes.forEach((box, i) => {
      const range = chosen.brushes.get(i);
      box.setAttribute("visibility", range ? "visible" : "hidden");
      if (range) filled(box, around(view.at(i, view.along(range[0])), view.at(i, view.along(range[1])), 8), []);
    });
}

function around(a, b, margin) {
  const [x, y] = [Math.min(a[0], b[0]), Math.min(a[1], b[1])];
  const [width, height] = [Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])];
  return width > height
    ? { x, y: y - margin, width, height: 2 * margin }
    : { x: x - margin, y, width: 2 * margin, height: Math.max(height, 1) };
}

function drag(rail, view, chosen, i, lowest) {
  let start = null;
  const svgBox = () => view.svg.getBoundingClientRect();
  const place = (event) =>
    Math.min(Math.max(view.back(event.clientX - svgBox().left, event.clientY - svgBox().top), lowest), 1);
  const near = GRIP / Math.abs(view.along(1) - view.along(0));

  rail.onpointerdown = (event) => {
    const at = place(event),
      range = chosen.brushes.get(i);
    const moves = range && at > range[0] - near && at < range[1] + near;
    const kept = !moves
      ? [at, at]
      : at > range[1] - near
        ? [range[0], null]
        : at < range[0] + near
          ? [range[1], null]
          : null;
    start = { at, range, kept: kept && kept[0], moved: false };
    rail.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  rail.onpointermove = (event) => {
    if (!start) return;
    const at = place(event);
    start.moved = start.moved || Math.abs(at - start.at) > near / 2;
    if (start.moved) chosen.set(i, dragged(start, at, lowest), false);
  };
  rail.onpointerup = () => {
    if (!start) return;
    chosen.set(i, start.moved ? chosen.brushes.get(i) : undefined);
    start = null;
  };
  rail.onpointercancel = rail.onpointerup;
  rail.onclick = (event) => event.stopPropagation();
}

/* The range after a drag to a place: from the end that is kept, or the whole range moved. */
function dragged(start, at, lowest) {
  if (start.kept !== null) return [Math.min(start.kept, at), Math.max(start.kept, at)];
  const shift = Math.min(Math.max(at - start.at, lowest - start.range[0]), 1 - start.range[1]);
  return [start.range[0] + shift, start.range[1] + shift];
}

/* The same by keyboard: two fields an axis. An empty field leaves that side open. */
function rangeForm(run, chosen) {
  const form = document.getElementById("range-form");
  const fields = run.axes.map((axis, i) => {
    const ends = ["from", "to"].map((name) => {
      const field = axis.scale.choices
        ? element(
            "select",
            {},
            element("option", { value: "" }, "any"),
            ...axis.scale.choices.map((choice, k) => element("option", { value: k }, choice)),
          )
        : element("input", { type: "number", step: "any" });
      field.setAttribute("aria-label", `${axis.name} ${name}`);
      return field;
    });
    for (const field of ends)
      field.onchange = () =>
        chosen.set(
          i,
          typed(
            axis,
            ends.map((end) => end.value),
          ),
        );
    form.append(
      element(
        "fieldset",
        {},
        element("legend", {}, axis.name),
        element("label", {}, "from ", ends[0]),
        element("label", {}, "to ", ends[1]),
      ),
    );
    return ends;
  });
  form.onsubmit = (event) => event.preventDefault();
  chosen.onChange(
    (done) =>
      done &&
      fields.forEach((ends, i) => {
        const range = chosen.brushes.get(i),
          scale = run.axes[i].scale;
        ends.forEach((field, k) => {
          const end = scale.downwards ? 1 - k : k;
          if (field !== document.activeElement) {
            field.value =
              range && range[end] >= 0
                ? scale.choices || scale.whole
                  ? Math.round(scale.back(range[end]))
                  : Number(scale.back(range[end]).toPrecision(6))
                : "";
          }
        });
      }),
  );
}

/* The range on the unit scale of what was typed; undefined where both fields are empty. What failed counts as 0, or
   where less is better, as more than anything. */
function typed(axis, [from, to]) {
  if (from === "" && to === "") return undefined;
  const { at, downwards } = axis.scale;
  const [low, high] = downwards ? [to, from] : [from, to];
  const withFailed = low === "" || (axis.failed && !downwards && Number(low) <= 0);
  return [
    withFailed ? FAILED : Math.max(at(Number(low)), 0),
    high === "" ? 1 : Math.max(at(Number(high)), FAILED),
  ];
}
