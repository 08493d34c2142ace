/* What is brushed, how the axes stand and who is shown, in the page's address: `#individual=7&brush=kernel1~3~5`. */

/* `brush` and `zoom` may stand several times, each NAME~FROM~TO (of choices by number, FROM `failed` or `stopped` with
   those that failed or were stopped); `flip` is a name, `order` the numbers of the axes. */
function linked(run, chosen, arranged) {
  const axisOf = new Map(run.axes.map((axis, i) => [axis.name, i]));
  let written = window.location.hash;

  function write() {
    const state = new URLSearchParams();
    if (run.shown !== null) state.set("individual", run.id[run.shown]);
    for (const [i, range] of chosen.brushes) state.append("brush", rangeText(run.axes[i], range));
    for (const [i, range] of arranged.zoomed) state.append("zoom", rangeText(run.axes[i], range));
    for (const i of arranged.flipped) state.append("flip", run.axes[i].name);
    if (arranged.order.some((axis, k) => axis !== k)) state.set("order", arranged.order.join("."));
    const text = state.size ? `#${state}` : "";
    if (text === (written.includes("=") ? written : "")) return;
    written = text;
    window.history.replaceState(null, "", text || "#");
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }

  /* What the address does not understand is left as it is at first. */
  function read() {
    written = window.location.hash;
    const state = new URLSearchParams(written.slice(1));
    chosen.brushes.clear();
    for (const [i, range] of ranges(state.getAll("brush"))) chosen.brushes.set(i, chosen.snapped(i, range));
    arranged.zoomed.clear();
    for (const [i, [low, high]] of ranges(state.getAll("zoom"))) if (high > low) arranged.zoomed.set(i, [low, high]);
    arranged.flipped.clear();
    for (const name of state.getAll("flip")) if (axisOf.has(name)) arranged.flipped.add(axisOf.get(name));
    const order = (state.get("order") || "").split(".").map(Number);
    if ([...order].sort((a, b) => a - b).join() === [...run.axes.keys()].join()) arranged.order = order;
    else arranged.order = [...run.axes.keys()];
    const row = run.rowOf(Number(state.get("individual") || NaN));
    if (row !== undefined) run.show(row);
    else run.hide();
  }

  function ranges(texts) {
    return texts.flatMap((text) => {
      const parts = text.split("~"),
        to = parts.pop(),
        from = parts.pop();
      const i = axisOf.get(parts.join("~"));
      const range = i === undefined ? null : rangeOf(run.axes[i], from, to);
      return range ? [[i, range]] : [];
    });
  }

  const isOurs = () => window.location.hash.includes("=") && window.location.hash !== written;
  window.addEventListener("hashchange", () => {
    if (!isOurs()) return;
    read();
    arranged.changed();
    chosen.update(true);
  });
  chosen.onChange((done) => done && write());
  arranged.onChange(write);
  run.changed = write;
  if (written.includes("=")) read();
}

function rangeText(axis, range) {
  const text = (place) =>
    place < FAILED / 4
      ? place < 0.75 * FAILED
        ? "failed"
        : "stopped"
      : String(axis.scale.choices ? axis.scale.back(place) : Number(axis.scale.back(place).toPrecision(9)));
  return [axis.name, ...range.map(text)].join("~");
}

/* The places of what rangeText wrote; null for what it cannot have written. */
function rangeOf({ scale }, ...ends) {
  const words = { failed: FAILED, stopped: STOPPED };
  const [low, high] = ends.map((end) => words[end] ?? (end ? scale.at(Number(end)) : NaN));
  return Number.isFinite(low) && Number.isFinite(high) ? [Math.max(low, FAILED), Math.min(high, 1)] : null;
}

/* A button that copies the address of this view; of a run that is being watched, that of the frame around it. */
function copyButton() {
  const here = () => {
    try {
      return window.top.location.href;
    } catch {
      return window.location.href;
    }
  };
  const button = element("button", { type: "button", class: "copy" }, "copy link");
  button.hidden = !navigator.clipboard;
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(here());
      button.textContent = "copied";
    } catch {
      button.textContent = "copy the address above";
    }
    setTimeout(() => (button.textContent = "copy link"), 2000);
  };
  return button;
}
