/* Scales: a value's place in [0, 1], ticks that read well, and numbers as text. */

function linearScale(low, high, whole = false) {
  const middle = (low + high) / 2;
  const half = high > low ? (high - low) / 2 : whole ? 0.5 : Math.abs(middle) * 0.05 || 0.5;
  const from = middle - half,
    to = middle + half;
  return {
    low: from,
    high: to,
    whole,
    at: (value) => (value - from) / (to - from),
    back: (place) => from + place * (to - from),
    ticks: (most) => roundTicks(from, to, most, whole),
    text: number,
  };
}

/* The same with its least number at the upper end. */
function downwards(scale) {
  return { ...scale, downwards: true, at: (value) => 1 - scale.at(value), back: (place) => scale.back(1 - place) };
}

function wholeScale(low, high) {
  return linearScale(low, high, true);
}

function logScale(low, high) {
  const inner = linearScale(Math.log10(low), Math.log10(high));
  return {
    low,
    high,
    at: (value) => inner.at(Math.log10(Math.max(value, Number.MIN_VALUE))),
    back: (place) => 10 ** inner.back(place),
    ticks: (most) => logTicks(low, high, most),
    text: number,
  };
}

/* Of losses, with some room about them; logarithmic where they differ much. */
function widened(losses) {
  const [low, high] = span(losses) || [0, 1];
  if (low > 0 && high > 10 * low) return logScale(low / 1.1, high * 1.1);
  const margin = (high - low) * 0.08;
  return linearScale(low - margin, high + margin);
}

function choiceScale(choices) {
  return {
    choices,
    at: (value) => (value + 0.5) / choices.length,
    back: (place) => Math.min(Math.max(Math.floor(place * choices.length), 0), choices.length - 1),
    ticks: (most) => choices.map((_, i) => i).filter((i) => i % Math.ceil(choices.length / Math.max(most, 1)) === 0),
    text: (value) => choices[value],
  };
}

function geneScale(gene) {
  if (gene.kind === "choice") return choiceScale(gene.choices);
  if (gene.kind === "log" && gene.high > gene.low) return logScale(gene.low, gene.high);
  const scale = linearScale(gene.low, gene.high, gene.kind === "whole");
  return { ...scale, ticks: (most) => stepTicks(gene, most) || scale.ticks(most) };
}

/* The values of a range with steps, if they are few. */
function stepTicks({ low, high, step }, most) {
  const count = step ? Math.floor((high - low) / step + 1e-9) + 1 : Infinity;
  return count <= most ? Array.from({ length: count }, (_, k) => low + k * step) : null;
}

/* At most `most` multiples of 1, 2 or 5 times a power of ten. */
function roundTicks(low, high, most, whole) {
  const rough = (high - low) / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  if (whole) step = Math.max(1, Math.round(step));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/* Powers of ten, thinned out; within less than two decades round numbers. */
function logTicks(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9),
    last = Math.floor(Math.log10(high) + 1e-9);
  if (last - first < 1) return [...new Set([low, ...roundTicks(low, high, Math.min(most, 3), false), high])];
  const step = Math.ceil((last - first + 1) / Math.max(most, 1));
  const ticks = [];
  for (let power = first; power <= last; power += step) ticks.push(Number(`1e${power}`));
  return ticks;
}

/* Up to four significant digits, as Python's .4g but for the exponent: 0.0123, 12,345, 1e-5. */
function number(value) {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  const short = Number(value.toPrecision(4));
  return size < 1e-3 || size >= 1e6 ? short.toExponential().replace("e+", "e") : String(short);
}

function fixed(value, digits = 4) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

/* Seconds in the unit that suits the longest of them. */
function timeUnit(longest) {
  const units = [
    [86400 * 2, 86400, "days"],
    [7200, 3600, "hours"],
    [180, 60, "minutes"],
    [0, 1, "seconds"],
  ];
  const [, seconds, name] = units.find(([least]) => longest >= least);
  return { seconds, name };
}

function duration(seconds) {
  const whole = Math.round(seconds);
  const two = (part) => String(part).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/* Sequential and safe for any colour vision: from light green over teal to dark blue, the better the darker. */
const SHADES = ["#bfe3b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84"];
const BEST = "#c2410c",
  DEFAULT = "#1b1f24",
  PLAIN = "#1d7fb8",
  PALE = "#d5dade",
  FAILURE = "#e69f00";
/* Of several runs (Okabe and Ito, those that show on white), told apart by their dashes too. */
const RUN_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000"];
const RUN_DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [4, 4], [12, 4], [1, 2]];

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
  return { known, of: (value) => (value === null ? FAILURE : mixed(rank(value))) };
}

function mixed(place) {
  const at = place * (SHADES.length - 1),
    i = Math.min(Math.floor(at), SHADES.length - 2);
  const channel = (shade, k) => parseInt(SHADES[shade].slice(1 + 2 * k, 3 + 2 * k), 16);
  const mix = [0, 1, 2].map((k) => Math.round(channel(i, k) + (at - i) * (channel(i + 1, k) - channel(i, k))));
  return `rgb(${mix})`;
}
