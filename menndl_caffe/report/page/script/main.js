/* Draws everything once the data is unpacked, and again when the window's width changes. */

function runPage(data) {
  const run = prepared(data);
  run.show = () => {};
  panel(run);
  if (!run.count) return { run, parts: {} };
  const chosen = selection(run);
  const parts = {
    parallel: parallel(run, chosen),
    history: history(run, chosen),
    curves: curves(run, chosen),
    front: front(run, chosen),
    paths: paths(run),
    decays: decays(run),
    ranks: ranks(run),
    table: table(run, chosen),
  };
  rangeForm(run, chosen);
  const bar = document.getElementById("brushed");
  bar.querySelector("button").onclick = () => chosen.clear();
  chosen.onChange(() => {
    bar.hidden = chosen.isAll();
    bar.querySelector("span").textContent =
      `${chosen.rows.length.toLocaleString("en")} of ${run.rows.length.toLocaleString("en")} individuals`;
  });
  return { run, chosen, parts };
}

async function main() {
  const data = await unpacked("data");
  const page = data.kind === "run" ? runPage(data) : { data, parts: { comparison: comparison(data) } };
  const draw = () => Object.values(page.parts).forEach((part) => part.draw());
  draw();
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
