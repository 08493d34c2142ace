/* At every axis of the parallel coordinates: its name, by which it is dragged to another place; flip and zoom. */

const STIRRED = 5; // pixels, from which on a press is a drag

function handles(view, run, chosen, arranged) {
  run.axes.forEach((axis, i) => {
    const name = view.names.get(i);
    name.classList.add("grab");
    name.append(svg("title", {}, `${axis.name}: drag it to move this axis`));
    carried(view, name, i, arranged);
    const zoomed = arranged.zoomed.has(i);
    const words = [
      ["flip", "turn this axis over", () => arranged.flip(i)],
      zoomed
        ? ["whole", "show the whole axis again", () => arranged.zoom(i)]
        : ["zoom", "show only what is brushed, else where nine tenths are", () => zoomTo(run, chosen, arranged, i)],
    ];
    words.forEach(([word, meaning, act], k) => {
      const text = svg("text", { class: "handle", ...handlePlace(view, i, k) }, word, svg("title", {}, meaning));
      text.onclick = (event) => {
        event.stopPropagation();
        act();
      };
      view.svg.append(text);
    });
  });
  const reset = document.getElementById("axes-reset");
  reset.hidden = arranged.isPlain();
  reset.onclick = () => arranged.reset();
}

function zoomTo(run, chosen, arranged, axis) {
  arranged.zoom(axis, closeUp(run, chosen, axis));
}

/* Below a standing axis, above a lying one at its right end. */
function handlePlace(view, i, k) {
  const across = view.across[view.slotOf.get(i)];
  return view.standing
    ? { x: across + (k ? 3 : -3), y: view.height - 6, "text-anchor": k ? "start" : "end" }
    : { x: view.width - (k ? 2 : 50), y: across - 7, "text-anchor": "end" };
}

/* While a name is dragged it follows the pointer, and a line says where the axis would go. */
function carried(view, name, axis, arranged) {
  const coordinate = (event) => (view.standing ? event.clientX : event.clientY);
  const line = svg("line", { class: "target", visibility: "hidden" });
  const edge = () => {
    const box = view.svg.getBoundingClientRect();
    return view.standing ? box.left : box.top;
  };
  let start = null,
    slot = null;

  function show(event) {
    const shift = coordinate(event) - start;
    name.setAttribute("transform", view.standing ? `translate(${shift} 0)` : `translate(0 ${shift})`);
    slot = nearestSlot(view.across, coordinate(event) - edge());
    const at = view.across[slot];
    const ends = view.standing ? { x1: at, x2: at, y1: 26, y2: view.height } : { x1: 0, x2: view.width, y1: at, y2: at };
    filled(line, { ...ends, visibility: "visible" }, []);
  }

  name.style.touchAction = "none";
  name.onpointerdown = (event) => {
    [start, slot] = [coordinate(event), null];
    name.setPointerCapture(event.pointerId);
    view.svg.append(line);
    event.preventDefault();
  };
  name.onpointermove = (event) => {
    if (start !== null && (slot !== null || Math.abs(coordinate(event) - start) > STIRRED)) show(event);
  };
  name.onpointerup = () => {
    const target = slot;
    start = slot = null;
    name.removeAttribute("transform");
    line.remove();
    if (target !== null) arranged.move(axis, target);
  };
  name.onpointercancel = name.onpointerup;
  name.onclick = (event) => event.stopPropagation();
}

function nearestSlot(across, pixel) {
  return across.reduce((best, at, k) => (Math.abs(at - pixel) < Math.abs(across[best] - pixel) ? k : best), 0);
}
