/* What brushes and handles do, by keyboard: two fields and four buttons an axis. An empty field leaves its side open. */

function rangeForm(run, chosen, arranged) {
  const form = document.getElementById("range-form");
  const fields = run.axes.map((axis, i) => {
    const ends = ["from", "to"].map((name) => endField(axis, name));
    const take = () =>
      chosen.set(
        i,
        typed(
          axis,
          ends.map((end) => end.value),
        ),
      );
    for (const field of ends) field.onchange = take;
    form.append(
      element(
        "fieldset",
        {},
        element("legend", {}, axis.name),
        element("label", {}, "from ", ends[0]),
        element("label", {}, "to ", ends[1]),
        axisButtons(run, chosen, arranged, i),
      ),
    );
    return ends;
  });
  form.onsubmit = (event) => event.preventDefault();
  chosen.onChange((done) => done && fields.forEach((ends, i) => filledIn(ends, run.axes[i], chosen.brushes.get(i))));
}

function endField(axis, name) {
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
}

function axisButtons(run, chosen, arranged, i) {
  const acts = {
    earlier: () => arranged.move(i, arranged.order.indexOf(i) - 1),
    later: () => arranged.move(i, arranged.order.indexOf(i) + 1),
    flip: () => arranged.flip(i),
    zoom: () => (arranged.zoomed.has(i) ? arranged.zoom(i) : zoomTo(run, chosen, arranged, i)),
  };
  return element(
    "div",
    { class: "buttons" },
    ...Object.entries(acts).map(([word, act]) =>
      element("button", { type: "button", "aria-label": `${run.axes[i].name}: ${word}`, on: { click: act } }, word),
    ),
  );
}

/* Shows in the fields what is brushed; not in the one that is being typed into. */
function filledIn(ends, { scale }, range) {
  ends.forEach((field, k) => {
    const end = scale.downwards ? 1 - k : k;
    if (field === document.activeElement) return;
    if (!range || range[end] < 0) field.value = "";
    else if (scale.choices || scale.whole) field.value = Math.round(scale.back(range[end]));
    else field.value = Number(scale.back(range[end]).toPrecision(6));
  });
}

/* The range on the unit scale of what was typed; undefined where both fields are empty. What failed counts as 0, or
   where less is better, as more than anything. */
function typed(axis, [from, to]) {
  if (from === "" && to === "") return undefined;
  const { at, downwards } = axis.scale;
  const [low, high] = downwards ? [to, from] : [from, to];
  const withFailed = low === "" || (lowest(axis) < 0 && !downwards && Number(low) <= 0);
  return [
    withFailed ? FAILED : Math.max(at(Number(low)), 0),
    high === "" ? 1 : Math.max(at(Number(high)), FAILED),
  ];
}
