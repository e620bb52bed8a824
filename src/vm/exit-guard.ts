/**
 * What must not outlive this process, with what throws it away at once. Only while there is something to
 * guard are there handlers, so that a program which uses withvm keeps its own ways of ending.
 */
const guarded = new Set<() => void>()

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Calls `release` when the process exits or is ended by a signal, unless the guard was lifted before. */
export function guardExit(release: () => void): () => void {
  if (guarded.size === 0) install()
  guarded.add(release)
  return () => {
    if (guarded.delete(release) && guarded.size === 0) uninstall()
  }
}

function install(): void {
  process.on('exit', releaseAll)
  for (const signal of SIGNALS) process.on(signal, onSignal)
}

function uninstall(): void {
  process.off('exit', releaseAll)
  for (const signal of SIGNALS) process.off(signal, onSignal)
}

function releaseAll(): void {
  for (const release of guarded) {
    try {
      release()
    } catch {
      // The others are to be released all the same; what is left here is swept by the next run.
    }
  }
  guarded.clear()
}

/** Throws everything away; then the signal does what it would have done without us. */
function onSignal(signal: NodeJS.Signals): void {
  releaseAll()
  uninstall()
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
}
