/* Draws everything once the data is unpacked, and again for another width, other colours, and for paper. */

function runPage(data) {
  const run = prepared(data);
  Object.assign(run, { shown: null, changed() {} });
  panel(run);
  if (!run.count) return { run, parts: {} };
  const chosen = selection(run),
    arranged = arrangement(run);
  const parts = {
    parallel: parallel(run, chosen, arranged),
    history: history(run, chosen),
    convergence: convergence(run),
    curves: curves(run, chosen),
    values: values(run, chosen),
    pairs: pairs(run, chosen),
    costs: costs(run, chosen),
    front: front(run, chosen),
    paths: paths(run),
    decays: decays(run),
    ranks: ranks(run),
    table: table(run, chosen),
  };
  rangeForm(run, chosen, arranged);
  const bar = document.getElementById("brushed");
  bar.append(copyButton());
  bar.querySelector("button").onclick = () => chosen.clear();
  const count = () => {
    bar.hidden = chosen.isAll();
    bar.querySelector("span").textContent =
      `${chosen.rows.length.toLocaleString("en")} of ${run.rows.length.toLocaleString("en")} individuals`;
  };
  chosen.onChange(count);
  linked(run, chosen, arranged);
  if (!chosen.isAll()) chosen.update(true);
  return { run, chosen, arranged, parts };
}

/* On a dark screen dark, on paper light. On paper the plots are as wide as it is, and tables are made to fit. */
function dressed(draw) {
  const [dark, paper] = ["(prefers-color-scheme: dark)", "print"].map((query) => window.matchMedia(query));
  const root = document.documentElement;
  const dressAs = (printing) => {
    root.classList.toggle("printing", printing);
    dress(dark.matches && !printing);
    draw();
    for (const wide of document.querySelectorAll(".wide")) {
      const inside = wide.firstElementChild;
      inside.style.zoom = 1;
      if (printing) inside.style.zoom = Math.min(1, wide.clientWidth / inside.scrollWidth);
    }
  };
  dark.addEventListener("change", () => dressAs(paper.matches));
  paper.addEventListener("change", () => dressAs(paper.matches));
  window.addEventListener("beforeprint", () => dressAs(true));
  window.addEventListener("afterprint", () => dressAs(false));
  dressAs(paper.matches);
}

async function main() {
  const data = await unpacked("data");
  const page = data.kind === "run" ? runPage(data) : { data, parts: { comparison: comparison(data) } };
  const draw = () => Object.values(page.parts).forEach((part) => part.draw());
  dressed(draw);
  let width = window.innerWidth,
    waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(draw, 150);
  });
  window.menndl = page; // for the browser's console, and for tests
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      document.documentElement.dataset.drawn = "true";
    }),
  );
}

main().catch((error) => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `The plots could not be drawn: ${error}. A browser of 2023 or later draws them.`;
  trouble.hidden = false;
  console.error(error);
});
