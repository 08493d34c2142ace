/* The list of individuals as a file: those that are brushed, in the order of the list, with numbers in full. */

function downloads(run, listed) {
  const host = document.getElementById("downloads");
  const kinds = {
    CSV: ["text/csv", (rows) => asCsv(columnsOf(run), rows)],
    JSON: ["application/json", (rows) => asJson(columnsOf(run), rows)],
  };
  for (const [kind, [type, text]] of Object.entries(kinds))
    host.append(
      element(
        "button",
        { type: "button", on: { click: () => saved(`individuals.${kind.toLowerCase()}`, type, text(listed())) } },
        `download ${kind}`,
      ),
    );
}

/* What is in the file: [name, value(row)]. */
function columnsOf(run) {
  const generations = run.stage === "generation" ? [["generation", (row) => run.generation[row]]] : [];
  return [
    ["id", (row) => run.id[row]],
    ...generations,
    ["status", (row) => run.statuses[run.status[row]]],
    ...run.genes.map((gene, i) => [
      gene.name,
      (row) => (gene.choices ? (gene.choices[run.values[i][row]] ?? null) : run.values[i][row]),
    ]),
    [run.measure, run.had],
    ...(run.until ? [["stopped_at", (row) => (run.isStopped(row) ? run.until[row] : null)]] : []),
    ...(run.measure === "loss" ? [] : [["loss", (row) => run.loss[row]]]),
    ...Object.entries(run.measures)
      .filter(([name]) => name !== run.measure)
      .map(([name, values]) => [name, (row) => values[row]]),
    ["seconds", (row) => run.seconds[row]],
    ["rank", (row) => run.rank[row]],
    ["host", (row) => run.hosts[run.host[row]]],
    ["seed", (row) => run.seed[row]],
    ["same_as", (row) => run.same[row]],
    ["reason", (row) => run.reasons[run.reason[row]]],
  ];
}

function asCsv(columns, rows) {
  const lines = [columns.map(([name]) => name), ...rows.map((row) => columns.map(([, of]) => of(row)))];
  return lines.map((cells) => `${cells.map(csvCell).join(",")}\n`).join("");
}

/* Quoted where need be; text that a spreadsheet would take for a formula gets a quote before it. */
function csvCell(value) {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function asJson(columns, rows) {
  const records = rows.map((row) => Object.fromEntries(columns.map(([name, of]) => [name, of(row) ?? null])));
  return `${JSON.stringify(records, null, 1)}\n`;
}

function saved(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
