import { readdir, readFile } from 'node:fs/promises'
import { formatDuration } from '../../common/duration.js'

/** A virtual CPU that uses less of a processor has nothing to do: a guest that idles takes 1 to 5 % of one under TCG. */
const IDLE_SHARE = 0.1
/** QEMU reads and writes a few bytes by itself, for what wakes it up. What a guest reads of its disk is more, bytes per second. */
const IDLE_BYTES = 16 * 1024
/** The kernel adds what a thread ran at its ticks, which are up to 10 ms apart: in less time, one that is busy may seem to do nothing. */
const LEAST_SPAN_MS = 20

interface Reading {
  readonly atMs: number
  /** Milliseconds on a processor, and in the queue for one: of all threads, and in the queue of the one that queued most. */
  readonly ranMs: number
  readonly queuedMs: number
  /** Bytes that were read and written. Undefined where nobody tells. */
  readonly ioBytes: number | undefined
}

/** What a guest does while it is waited for, as seen from outside: it tells one that is slow from one that is stuck. */
export class GuestPace {
  readonly #pid: number
  readonly #silentMs: () => number | undefined
  #last: Reading | undefined
  #idleSince: number | undefined
  #ioAt: number | undefined
  #queuedMs = 0

  /** @param silentMs how long ago the last byte came on its console. */
  constructor(pid: number, silentMs: () => number | undefined) {
    this.#pid = pid
    this.#silentMs = silentMs
  }

  /** How long it has neither printed, nor used its disk, nor computed anything. */
  get idleMs(): number {
    return this.#idleSince === undefined ? 0 : performance.now() - this.#idleSince
  }

  /** How long ago it was last seen using its disk. */
  get sinceIoMs(): number {
    return this.#ioAt === undefined ? Number.POSITIVE_INFINITY : performance.now() - this.#ioAt
  }

  /** How long it could have run since the first look, but for others that had the processors. */
  get queuedMs(): number {
    return this.#queuedMs
  }

  /** Looks at it. To be called every second or so: what was looked at a moment ago is not looked at again. */
  async look(): Promise<void> {
    const last = this.#last
    if (last !== undefined && performance.now() - last.atMs < LEAST_SPAN_MS) return
    const now = await readProcess(this.#pid)
    this.#last = now
    if (now === undefined || last === undefined) return
    const spanMs = now.atMs - last.atMs
    this.#queuedMs += Math.max(0, now.queuedMs - last.queuedMs)
    // What waits for a processor has something to do.
    const wantedMs = now.ranMs - last.ranMs + (now.queuedMs - last.queuedMs)
    const usesDisk =
      now.ioBytes !== undefined &&
      last.ioBytes !== undefined &&
      now.ioBytes - last.ioBytes > (IDLE_BYTES * spanMs) / 1000
    if (usesDisk) this.#ioAt = now.atMs
    const isSilent = (this.#silentMs() ?? Number.POSITIVE_INFINITY) >= spanMs
    const isIdle = isSilent && !usesDisk && wantedMs < spanMs * IDLE_SHARE
    this.#idleSince = isIdle ? (this.#idleSince ?? last.atMs) : undefined
  }

  /** In words, for the evidence; undefined where it was looked at for too short to tell. */
  describe(): string | undefined {
    if (this.#last === undefined) return undefined
    const { idleMs, sinceIoMs, queuedMs } = this
    const disk = Number.isFinite(sinceIoMs)
      ? `last used its disk ${formatDuration(sinceIoMs)} ago`
      : 'did not use its disk'
    const idle =
      idleMs === 0
        ? 'its processors were busy'
        : `its processors have had nothing to do for ${formatDuration(idleMs)}`
    const queued =
      queuedMs < 1000 ? '' : `; it had to wait for a processor of this host for ${formatDuration(queuedMs)}`
    return `it ${disk}; ${idle}${queued}`
  }
}

/** `schedstat` has nanoseconds on a processor, then nanoseconds in a queue; `io` what went by system calls (proc(5)). */
async function readProcess(pid: number): Promise<Reading | undefined> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const times = await Promise.all(
    threads.map(async (thread) => {
      const text = await readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '')
      return text === '' ? undefined : text.split(' ').map((ns) => Number(ns) / 1e6)
    }),
  )
  const known = times.filter((time) => time !== undefined)
  if (known.length === 0) return undefined
  const io = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => '')
  const counted = [...io.matchAll(/^[rw]char: (\d+)$/gm)].map(([, bytes]) => Number(bytes))
  return {
    atMs: performance.now(),
    ranMs: known.reduce((sum, [ran = 0]) => sum + ran, 0),
    queuedMs: Math.max(...known.map(([, queued = 0]) => queued)),
    ioBytes: counted.length === 0 ? undefined : counted.reduce((sum, bytes) => sum + bytes, 0),
  }
}
