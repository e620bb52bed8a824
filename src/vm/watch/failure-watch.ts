import { stripVTControlCharacters } from 'node:util'
import { ConsoleLines } from '../../channel/serial/console-lines.js'
import type { SerialConsole } from '../../channel/serial/serial-console.js'
import { findGuestFailure } from './guest-failures.js'

/** Ends a wait when the guest fails. */
export interface FailureWatch {
  /** Aborts, with the error as its reason. */
  readonly signal: AbortSignal
  stop(): void
}

export interface FailureWatchOptions {
  /** Aborts when the guest is lost: `vm.lost`. */
  readonly lost?: AbortSignal
  /** Delay between the failure and the abort, in milliseconds. @default 0 */
  readonly graceMs?: number | undefined
}

/**
 * Watches a guest during a wait. The loss of the guest (a panic, the end of QEMU) counts even if it
 * happened earlier. A failure that a test may provoke (an oops, an OOM kill, an emergency shell)
 * counts only from now on.
 */
export function watchForFailure(
  serial: SerialConsole,
  { lost, graceMs = 0 }: FailureWatchOptions = {},
): FailureWatch {
  const failed = new AbortController()
  const printed = new ConsoleLines()
  let timer: NodeJS.Timeout | undefined
  const abort = (reason: unknown) => {
    if (graceMs === 0) failed.abort(reason)
    else timer ??= setTimeout(() => failed.abort(reason), graceMs)
  }
  const onLost = () => abort(lost?.reason)
  if (lost?.aborted) onLost()
  lost?.addEventListener('abort', onLost, { once: true })
  const stopReading = serial.onText((text) => {
    const lines = printed.push(text)
    // A prompt has no line end.
    if (printed.partial.startsWith('(initramfs)')) lines.push(printed.partial)
    for (const line of lines) {
      const failure = findGuestFailure(stripVTControlCharacters(line), 'wait')
      // The loss of the guest is reported by `vm.lost`, after the rest of its trace.
      if (failure?.code === 'GUEST_FAILED') abort(failure)
    }
  })
  const stop = () => {
    clearTimeout(timer)
    lost?.removeEventListener('abort', onLost)
    stopReading()
  }
  return { signal: failed.signal, stop }
}
