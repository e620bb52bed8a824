/** How many symbolic links Linux follows in one path. */
const MOST_LINKS = 40
/** How many steps a path may have with those of all links on its way: paths of real systems have a few dozen. */
const MOST_STEPS = 1024

/**
 * Returns where a path of a root file system leads to, without `/` at its beginning: as in a guest, nothing leads out of the
 * root. Undefined where links lead round, or where the path has more than 1024 steps with its links.
 *
 * @param linkAt returns the target of a symbolic link; undefined for anything else
 */
export function followLinks(path: string, linkAt: (path: string) => string | undefined): string | undefined {
  let reached = ''
  // The next step is the last one.
  const rest = path.split('/').reverse()
  let steps = rest.length
  let links = 0
  for (let step = rest.pop(); step !== undefined; step = rest.pop()) {
    if (steps > MOST_STEPS) return undefined
    if (step === '' || step === '.') continue
    if (step === '..') {
      reached = reached.slice(0, Math.max(0, reached.lastIndexOf('/')))
      continue
    }
    const at = reached === '' ? step : `${reached}/${step}`
    const target = linkAt(at)
    if (target === undefined) {
      reached = at
      continue
    }
    links += 1
    if (links > MOST_LINKS) return undefined
    if (target.startsWith('/')) reached = ''
    const further = target.split('/').reverse()
    steps += further.length
    if (steps > MOST_STEPS) return undefined
    rest.push(...further)
  }
  return reached
}
