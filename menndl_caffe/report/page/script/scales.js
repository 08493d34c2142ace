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
    part: (low, high) => linearScale(from + low * (to - from), from + high * (to - from), whole),
  };
}

/* The same with its least number at the upper end. */
function downwards(scale) {
  return {
    ...scale,
    downwards: true,
    at: (value) => 1 - scale.at(value),
    back: (place) => scale.back(1 - place),
    part: (low, high) => downwards(scale.part(1 - high, 1 - low)),
  };
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
    part: (from, to) => logScale(10 ** inner.back(from), 10 ** inner.back(to)),
  };
}

/* Of losses, with some room about them; logarithmic where they differ much. */
function widened(losses) {
  const [low, high] = span(losses) || [0, 1];
  if (low > 0 && high > 10 * low) return logScale(low / 1.1, high * 1.1);
  const margin = (high - low) * 0.08;
  return linearScale(low - margin, high + margin);
}

/* The same with some room at both ends, so that nothing lies on the plot's frame. */
function padded(scale, room = 0.03) {
  return {
    ...scale,
    at: (value) => room + (1 - 2 * room) * scale.at(value),
    back: (place) => scale.back((place - room) / (1 - 2 * room)),
  };
}

function choiceScale(choices) {
  const scale = {
    choices,
    at: (value) => (value + 0.5) / choices.length,
    back: (place) => Math.min(Math.max(Math.floor(place * choices.length), 0), choices.length - 1),
    ticks: (most) => choices.map((_, i) => i).filter((i) => i % Math.ceil(choices.length / Math.max(most, 1)) === 0),
    text: (value) => choices[value],
    part: () => scale,
  };
  return scale;
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

/* A time with its units, the two largest of them: 12.3 s, 2 min 5 s, 3 h 20 min, 1 d 4 h. */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const units = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => whole >= size);
  return units
    .slice(first, first + 2)
    .map(([size, unit], k) => [Math.floor(k ? (whole % units[first][0]) / size : whole / size), unit])
    .filter(([count], k) => count || !k)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
