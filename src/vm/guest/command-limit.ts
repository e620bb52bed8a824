import { TestEnds } from '../../channel/command-result.js'
import { combineSignals } from '../../common/combine-signals.js'
import type { WaitLimit } from '../../common/wait-limit.js'

/**
 * Maximum time for listing the processes of the guest, milliseconds, and as a share of the time
 * left.
 */
const LIST_MS = 2000
const LIST_SHARE = 0.2
/** Maximum number of processes in an error. */
const MAX_PROCESSES = 30

/** Lists the processes. The `ps` of busybox supports neither `-e` nor `etime`. */
export const LIST_PROCESSES = 'ps -eo pid,ppid,stat,etime,args 2>/dev/null || ps -o pid,ppid,stat,args'

/** A command of a test. */
export interface LimitedCommand {
  readonly limit: WaitLimit
  readonly signal: AbortSignal | undefined
  /** Returns the output of {@link LIST_PROCESSES}. */
  listProcesses(): Promise<string>
}

/**
 * Runs a command with a signal that aborts shortly before its test times out: the timeout error of
 * the test runner names no command.
 */
export async function limitCommand<T>(
  { limit, signal, listProcesses }: LimitedCommand,
  run: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const leftMs = limit()
  if (!Number.isFinite(leftMs)) return run(signal)
  const listMs = Math.min(LIST_MS, leftMs * LIST_SHARE)
  const end = new AbortController()
  let timer = setTimeout(() => {
    const stop = (processes: string) => end.abort(new TestEnds(processes))
    timer = setTimeout(() => stop('(the guest did not list them in time)'), listMs)
    listProcesses().then(
      (text) => stop(selectProcesses(text)),
      () => stop('(the guest could not list them)'),
    )
  }, leftMs - listMs)
  try {
    return await run(combineSignals(signal, end.signal))
  } finally {
    clearTimeout(timer)
  }
}

/** Returns the list without kernel threads and without the commands that made it. */
function selectProcesses(text: string): string {
  const lines = text.split('\n').filter((line) => !/\[[^[\]]*\]$|\bps -e?o /.test(line.trimEnd()))
  const more = lines.length - 1 - MAX_PROCESSES
  return more > 0 ? [...lines.slice(0, MAX_PROCESSES + 1), `(${more} more)`].join('\n') : lines.join('\n')
}
