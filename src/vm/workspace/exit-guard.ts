/**
 * Synchronous releases of resources that must not outlive this process. Signal handlers are
 * installed only while this set is not empty, so a program that uses withvm keeps its own signal
 * handling.
 */
const guarded = new Set<() => void>()

/** Property in which all copies of signal-exit 4 in a process share their state. */
const SIGNAL_EXIT = Symbol.for('signal-exit emitter')

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Calls `release` when the process exits or is ended by a signal. The returned function removes the
 * guard.
 */
export function guardExit(release: () => void): () => void {
  if (guarded.size === 0) addExitHandlers()
  guarded.add(release)
  return () => {
    if (guarded.delete(release) && guarded.size === 0) removeExitHandlers()
  }
}

/**
 * Returns true if this process is a worker of Vitest. Child processes inherit its environment, but
 * not this global.
 */
export function isInRunner(): boolean {
  return '__vitest_worker__' in globalThis
}

function addExitHandlers(): void {
  process.on('exit', releaseAll)
  for (const signal of SIGNALS) process.on(signal, onSignal)
  if (isInRunner() && process.connected) process.on('disconnect', onRunnerLost)
}

function removeExitHandlers(): void {
  process.off('exit', releaseAll)
  for (const signal of SIGNALS) process.off(signal, onSignal)
  process.off('disconnect', onRunnerLost)
}

function releaseAll(): void {
  for (const release of guarded) {
    try {
      release()
    } catch {
      // The other releases must run anyway. The next run sweeps remaining files.
    }
  }
  guarded.clear()
}

/**
 * Ends a worker whose runner is gone: it can report nothing and does not end by itself. Its failing
 * reports raise errors that Vitest 4 tries to report again, in a loop that blocks all asynchronous
 * work.
 */
function onRunnerLost(): void {
  releaseAll()
  process.kill(process.pid, 'SIGKILL')
}

/** Releases everything, then lets the signal have its usual effect. */
function onSignal(signal: NodeJS.Signals): void {
  releaseAll()
  removeExitHandlers()
  if (process.listenerCount(signal) <= countSignalExit()) process.kill(process.pid, signal)
}

/**
 * Returns the number of listeners of the library signal-exit, which execa installs while a program
 * runs. signal-exit raises a signal again only if all listeners are its own, so the process must be
 * ended here if only listeners of signal-exit remain.
 */
function countSignalExit(): number {
  const known = globalThis as { [SIGNAL_EXIT]?: { readonly count?: number } }
  return known[SIGNAL_EXIT]?.count ?? 0
}
