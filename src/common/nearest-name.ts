/**
 * Returns the candidates most similar to `name`, nearest first, at most `limit`: those that differ
 * in case or by few typing errors, and those that start with `name`. Empty if none is similar.
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

/** Returns the candidate most similar to `name`, or undefined. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  return nearestNames(name, candidates, 1)[0]
}

/**
 * Returns the number of letters to insert, delete, replace or swap with a neighbor to turn `a` into
 * `b` (Damerau-Levenshtein, optimal string alignment).
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
