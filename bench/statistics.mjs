export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Returns the median of the ratios of pairs that were measured in succession, so that a drift of the host affects both. */
export function pairedRatio(ours, theirs) {
  return median(ours.map((value, index) => value / theirs[index]))
}

export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? String(cell).padEnd(widths[column]) : String(cell).padStart(widths[column]),
        )
        .join('  '),
    )
    .join('\n')
}

/** Runs measurements in succession, in reverse order in every second round, so that the order affects all measurements equally. */
export async function alternate(round, measurements) {
  for (const measure of round % 2 === 0 ? measurements : [...measurements].reverse()) await measure()
}

/** Returns the duration of a function, milliseconds. */
export async function timed(work) {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

export function ms(value) {
  return value.toFixed(value < 10 ? 1 : 0)
}
