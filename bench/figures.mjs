// Medians, spreads and tables. Nothing here measures.

/** The middle of the sorted values; of an even number, the mean of both. NaN for none. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Three significant digits, so that 7.43 and 812 take the same room. */
export const short = (value) => {
  if (!Number.isFinite(value)) return "-";
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
};

/** `median (lowest-highest)`. */
export const spread = (values) =>
  values.length === 0
    ? "-"
    : `${short(median(values))} (${short(Math.min(...values))}-${short(Math.max(...values))})`;

/** Pairs of one round each, `a[i] / b[i]`: what ratio two interleaved series have. */
export const ratios = (a, b) => a.slice(0, b.length).map((value, round) => value / b[round]);

/** Prints rows of texts under heads, the first column to the left and all others to the right. */
export function printTable(heads, rows) {
  const all = [heads, ...rows].map((row) => row.map(String));
  const widths = heads.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  for (const [number, row] of all.entries()) {
    const cells = widths.map((width, column) =>
      column === 0 ? (row[column] ?? "").padEnd(width) : (row[column] ?? "").padStart(width));
    console.log(`  ${cells.join("  ").trimEnd()}`);
    if (number === 0) console.log(`  ${widths.map((width) => "-".repeat(width)).join("  ")}`);
  }
}

/** Says why there is no figure; a bench with a gap goes on. */
export const notMeasured = (what, why) => {
  console.log(`  ${what}: not measured: ${why}`);
  return { what, notMeasured: String(why) };
};
