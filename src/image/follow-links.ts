/** How many symbolic links Linux follows in one path. */
const MOST_LINKS = 40

/**
 * Where a path of a root file system leads to, without `/` at its beginning: as in a guest, nothing leads out of the
 * root. Undefined where links lead round.
 *
 * @param linkAt gives what a symbolic link has in it; undefined for what is none
 */
export function followLinks(path: string, linkAt: (path: string) => string | undefined): string | undefined {
  const reached: string[] = []
  let rest = path.split('/')
  for (let links = 0; rest.length > 0; ) {
    const [step = '', ...further] = rest
    rest = further
    if (step === '' || step === '.') continue
    if (step === '..') {
      reached.pop()
      continue
    }
    const target = linkAt([...reached, step].join('/'))
    if (target === undefined) {
      reached.push(step)
      continue
    }
    links += 1
    if (links > MOST_LINKS) return undefined
    if (target.startsWith('/')) reached.length = 0
    rest = [...target.split('/'), ...further]
  }
  return reached.join('/')
}
