/**
 * What must not outlive this process, with what throws it away at once. Only while there is something to
 * guard are there handlers, so that a program which uses withvm keeps its own ways of ending.
 */
const guarded = new Set<() => void>()

/** Where all copies of signal-exit 4 in a process keep what they share. */
const SIGNAL_EXIT = Symbol.for('signal-exit emitter')

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Calls `release` when the process exits or is ended by a signal, unless the guard was lifted before. */
export function guardExit(release: () => void): () => void {
  if (guarded.size === 0) install()
  guarded.add(release)
  return () => {
    if (guarded.delete(release) && guarded.size === 0) uninstall()
  }
}

/** Whether this process is a worker of Vitest. What it starts inherits its environment, not this. */
export function isInRunner(): boolean {
  return '__vitest_worker__' in globalThis
}

function install(): void {
  process.on('exit', releaseAll)
  for (const signal of SIGNALS) process.on(signal, onSignal)
  if (isInRunner() && process.connected) process.on('disconnect', onRunnerLost)
}

function uninstall(): void {
  process.off('exit', releaseAll)
  for (const signal of SIGNALS) process.off(signal, onSignal)
  process.off('disconnect', onRunnerLost)
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

/**
 * A worker whose runner is gone has nobody to tell anything, and does not end by itself. What it tries to tell all the same fails with an
 * error that Vitest 4 tries to tell in its turn, again and again, and leaves no time for anything that is not done at once.
 */
function onRunnerLost(): void {
  releaseAll()
  process.kill(process.pid, 'SIGKILL')
}

/** Throws everything away; then the signal does what it would have done without us. */
function onSignal(signal: NodeJS.Signals): void {
  releaseAll()
  uninstall()
  if (process.listenerCount(signal) <= countSignalExit()) process.kill(process.pid, signal)
}

/**
 * How many listeners of a signal are those of the library signal-exit, which execa has while a program runs. One that came before ours
 * has seen ours, and left it to that to end the process.
 */
function countSignalExit(): number {
  const known = globalThis as { [SIGNAL_EXIT]?: { readonly count?: number } }
  return known[SIGNAL_EXIT]?.count ?? 0
}
