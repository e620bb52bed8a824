export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The median of the ratios of pairs that were measured one after the other: a machine that drifts does so for both. */
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

/** Measures one after the other, the other way round in each second round: a host whose second run is slower is so for both. */
export async function inTurn(round, measurements) {
  for (const measure of round % 2 === 0 ? measurements : [...measurements].reverse()) await measure()
}

/** How long something takes, milliseconds. */
export async function timed(work) {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

export function ms(value) {
  return value.toFixed(value < 10 ? 1 : 0)
}
