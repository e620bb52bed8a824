/**
 * The candidates that a person most likely meant by `name`, nearest first, at most `limit`: those that differ by
 * letters' case or few typing mistakes, and those that begin with what was written. Empty when nothing is near.
 */
export function nearestNames(name: string, candidates: Iterable<string>, limit = 3): string[] {
  const wanted = name.toLowerCase()
  const allowed = Math.max(1, Math.floor(wanted.length / 3))
  const near: Array<{ candidate: string; distance: number }> = []
  for (const candidate of new Set(candidates)) {
    const known = candidate.toLowerCase()
    const distance = editDistance(wanted, known)
    if (distance <= allowed) near.push({ candidate, distance })
    else if (wanted.length >= 3 && known.startsWith(wanted)) near.push({ candidate, distance: allowed + 1 })
  }
  near.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
  return near.slice(0, limit).map(({ candidate }) => candidate)
}

/** The one candidate that `name` most likely stands for, or undefined. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  return nearestNames(name, candidates, 1)[0]
}

/**
 * How many letters must be inserted, deleted, changed or swapped with their neighbour to turn `a` into `b`
 * (Damerau-Levenshtein, in the form in which no piece is edited twice).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (same ? 0 : 1),
      )
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, at(beforeLast, column - 2) + 1)
      current.push(cost)
    }
    beforeLast = last
    last = current
  }
  return at(last, b.length)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
