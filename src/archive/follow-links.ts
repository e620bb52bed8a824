/** Maximum number of symbolic links that Linux follows in one path. */
const MAX_LINKS = 40
/**
 * Maximum number of components of a path including those of its links: paths of real systems have a
 * few dozen.
 */
const MAX_STEPS = 1024

/**
 * Resolves a path of a root file system, without a leading `/`. As in a guest, no path leaves the
 * root. Returns undefined for circular links and for paths with more than 1024 components including
 * links.
 *
 * @param linkAt returns the target of a symbolic link; undefined for anything else
 */
export function followLinks(path: string, linkAt: (path: string) => string | undefined): string | undefined {
  let reached = ''
  // Reversed: the next step is the last element.
  const rest = path.split('/').reverse()
  let steps = rest.length
  let links = 0
  for (let step = rest.pop(); step !== undefined; step = rest.pop()) {
    if (steps > MAX_STEPS) return undefined
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
    if (links > MAX_LINKS) return undefined
    if (target.startsWith('/')) reached = ''
    const targetSteps = target.split('/').reverse()
    steps += targetSteps.length
    if (steps > MAX_STEPS) return undefined
    rest.push(...targetSteps)
  }
  return reached
}
