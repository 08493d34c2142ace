/* The colours of what is drawn, on a light and on a dark page. All tell apart whoever sees colours another way. */

const LIGHT = {
  back: "#ffffff",
  best: "#c2410c",
  default: "#1b1f24",
  plain: "#1d7fb8",
  pale: "#d5dade",
  other: "#8c959f",
  failure: "#e69f00",
  busy: "#41b6c4",
  busyToo: "#8fd0dc",
  range: "#bfdbec",
  better: "darker",
  /* From light green over teal to dark blue. */
  shades: ["#bfe3b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84"],
  /* Of several runs or descents (Okabe and Ito), told apart by their dashes too. */
  runs: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000"],
};
const DARK = {
  back: "#14181d",
  best: "#ff9257",
  default: "#f0f3f6",
  plain: "#58b1e3",
  pale: "#3a434d",
  other: "#7d8894",
  failure: "#f0b429",
  busy: "#2d93a3",
  busyToo: "#1d6673",
  range: "#1d4a66",
  better: "lighter",
  shades: ["#1d3f6e", "#1f6196", "#2a88ad", "#45aeb2", "#8ad0ac", "#e2f3bd"],
  runs: ["#58b1e3", "#ff9257", "#2bc79a", "#e79ac4", "#d3b13b", "#a9d8f5", "#ffffff"],
};
const RUN_DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4], [1, 2]];

const ink = { ...LIGHT }; // those of now

/* Takes the light or the dark ones, also in the text. */
function dress(dark) {
  Object.assign(ink, dark ? DARK : LIGHT);
  for (const word of document.querySelectorAll(".better")) word.textContent = ink.better;
}

/* Shade of a gain by its rank among these gains, so that every shade is used equally often. */
function shading(gains) {
  const known = Float64Array.from(gains.filter((value) => value !== null)).sort();
  const rank = (value) => {
    let low = 0,
      high = known.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (known[middle] < value) low = middle + 1;
      else high = middle;
    }
    return known.length > 1 ? low / (known.length - 1) : 1;
  };
  return { known, of: (value) => (value === null ? ink.failure : mixed(rank(value))) };
}

/* The shade of an individual; of one that was stopped early none of them. */
function shadeOf(run, shade, row) {
  return run.isStopped(row) ? ink.other : shade.of(run.gain(row));
}

function mixed(place) {
  const at = place * (ink.shades.length - 1),
    i = Math.min(Math.floor(at), ink.shades.length - 2);
  const channel = (shade, k) => parseInt(ink.shades[shade].slice(1 + 2 * k, 3 + 2 * k), 16);
  const mix = [0, 1, 2].map((k) => Math.round(channel(i, k) + (at - i) * (channel(i + 1, k) - channel(i, k))));
  return `rgb(${mix})`;
}
