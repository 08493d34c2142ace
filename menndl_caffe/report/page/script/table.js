/* The list of individuals: those that are brushed, sorted by any column, a page at a time. */

const ON_A_PAGE = 25;

function table(run, chosen) {
  const host = document.getElementById("table"),
    pages = document.getElementById("pages");
  const columns = [
    { name: "id", of: (row) => run.id[row] },
    ...run.axes
      .slice(0, -1)
      .map((axis) => ({ name: axis.name, of: axis.of, text: axis.text, isText: Boolean(axis.scale.choices) })),
    {
      name: run.measure,
      of: (row) => run.fitness[row],
      text: (row) => (run.isStopped(row) ? `(${run.text(run.had(row))})` : run.ending(row)),
    },
    ...(run.until ? [{ name: "status", of: run.progress, text: run.state, isText: true }] : []),
    ...(run.measure === "loss"
      ? []
      : [{ name: "loss", of: (row) => run.loss[row], text: (row) => fixed(run.loss[row]) || "–" }]),
    ...run.measured,
    {
      name: "seconds",
      of: (row) => run.seconds[row],
      text: (row) => (run.same[row] === null ? fixed(run.seconds[row], 1) : `as ${run.same[row]}`),
    },
    { name: "rank", of: (row) => run.rank[row] },
    { name: "host", of: (row) => run.host[row], text: (row) => run.hosts[run.host[row]], isText: true },
  ];
  const fitness = columns[run.axes.length];
  let sorting = { column: fitness, down: !run.minimize },
    page = 0,
    counted = "",
    rows = [];

  function sort() {
    const { column, down } = sorting;
    const key = new Map(chosen.rows.map((row) => [row, column.of(row)]));
    const worst = down ? -Infinity : Infinity; // what has no value comes last
    rows = [...chosen.rows].sort((a, b) => {
      const difference = (key.get(a) ?? worst) - (key.get(b) ?? worst);
      return (down ? -difference : difference) || run.id[a] - run.id[b];
    });
  }

  function head() {
    const cells = columns.map((column) => {
      const sorted = column === sorting.column;
      const button = element(
        "button",
        {
          type: "button",
          on: {
            click: () => {
              sorting = { column, down: sorted ? !sorting.down : column === fitness && !run.minimize };
              page = 0;
              update();
              [...host.querySelectorAll("thead button")][columns.indexOf(column)].focus();
            },
          },
        },
        column.name + (sorted ? (sorting.down ? " ▼" : " ▲") : ""),
      );
      return element(
        "th",
        {
          scope: "col",
          title: column.name,
          class: column.isText ? "text" : null,
          "aria-sort": sorted ? (sorting.down ? "descending" : "ascending") : null,
        },
        button,
      );
    });
    return element("thead", {}, element("tr", {}, ...cells));
  }

  function line(row) {
    const cells = columns
      .slice(1)
      .map((column) =>
        element(
          "td",
          { class: column.isText ? "text" : null },
          String(column.text ? column.text(row) : column.of(row)),
        ),
      );
    const button = element(
      "button",
      { type: "button", class: "link", on: { click: () => run.show(row) } },
      String(run.id[row]),
    );
    return element("tr", { "data-id": run.id[row] }, element("td", {}, button), ...cells);
  }

  function show() {
    const last = Math.max(Math.ceil(rows.length / ON_A_PAGE) - 1, 0);
    page = Math.min(page, last);
    host.replaceChildren(
      head(),
      element("tbody", {}, ...rows.slice(page * ON_A_PAGE, (page + 1) * ON_A_PAGE).map(line)),
    );
    const [first, end] = [page * ON_A_PAGE + 1, Math.min((page + 1) * ON_A_PAGE, rows.length)];
    const which = rows.length > ON_A_PAGE ? `: ${first.toLocaleString("en")} to ${end.toLocaleString("en")}` : "";
    document.getElementById("list-count").textContent = counted + which;
    const turn = (text, to, enabled) => {
      const button = element(
        "button",
        {
          type: "button",
          on: {
            click: () => {
              page = to;
              show();
            },
          },
        },
        text,
      );
      button.disabled = !enabled;
      return button;
    };
    pages.replaceChildren(
      turn("first", 0, page > 0),
      turn("previous", page - 1, page > 0),
      element("span", {}, `page ${page + 1} of ${last + 1}`),
      turn("next", page + 1, page < last),
      turn("last", last, page < last),
    );
  }

  function update() {
    sort();
    const [some, all] = [chosen.rows.length.toLocaleString("en"), run.rows.length.toLocaleString("en")];
    counted = chosen.isAll() ? `${all} individuals` : `${some} of ${all} individuals, those brushed`;
    show();
  }

  chosen.onChange((done) => {
    if (!done) return;
    page = 0;
    update();
  });
  downloads(run, () => rows);
  return { draw: update, rows: () => rows.map((row) => run.id[row]) };
}
