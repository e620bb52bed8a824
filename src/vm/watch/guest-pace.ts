import { readdir, readFile } from 'node:fs/promises'
import { formatDuration } from '../../common/duration.js'
import { KIB } from '../../common/units.js'

/**
 * Share of a host CPU below which a virtual CPU counts as idle. An idle guest uses 1 to 5 % under
 * TCG.
 */
const IDLE_SHARE = 0.1
/**
 * I/O rate below which the guest's disk counts as idle, bytes per second. QEMU's own wakeups read
 * and write a few bytes.
 */
const IDLE_BYTES = 16 * KIB
/**
 * Minimum time between two readings: the kernel updates CPU times at its ticks, up to 10 ms apart.
 */
const MIN_SPAN_MS = 20

interface Reading {
  readonly atMs: number
  /** CPU time of all threads, in milliseconds. */
  readonly cpuMs: number
  /** Time in the run queue of the thread that waited longest, in milliseconds. */
  readonly queuedMs: number
  /** Bytes read and written. Undefined if the kernel does not report them. */
  readonly ioBytes: number | undefined
}

/** Activity of a guest as seen from outside. It distinguishes a slow guest from a stuck one. */
export class GuestPace {
  readonly #pid: number
  readonly #silentMs: () => number | undefined
  #last: Reading | undefined
  #idleSince: number | undefined
  #ioAt: number | undefined
  #queuedMs = 0

  /** @param silentMs returns the time since the last console output. */
  constructor(pid: number, silentMs: () => number | undefined) {
    this.#pid = pid
    this.#silentMs = silentMs
  }

  /** Time without console output, disk I/O and CPU use, in milliseconds. */
  get idleMs(): number {
    return this.#idleSince === undefined ? 0 : performance.now() - this.#idleSince
  }

  /** Time since the last observed disk I/O, in milliseconds. */
  get sinceIoMs(): number {
    return this.#ioAt === undefined ? Number.POSITIVE_INFINITY : performance.now() - this.#ioAt
  }

  /**
   * Time in the run queue since the first reading, when other processes used the host CPUs,
   * in milliseconds.
   */
  get queuedMs(): number {
    return this.#queuedMs
  }

  /**
   * Takes a reading. Call it about every second; a call shortly after the previous one does
   * nothing.
   */
  async update(): Promise<void> {
    const last = this.#last
    if (last !== undefined && performance.now() - last.atMs < MIN_SPAN_MS) return
    const now = await readProcess(this.#pid)
    this.#last = now
    if (now === undefined || last === undefined) return
    const spanMs = now.atMs - last.atMs
    this.#queuedMs += Math.max(0, now.queuedMs - last.queuedMs)
    // A thread in the run queue is not idle.
    const demandedMs = now.cpuMs - last.cpuMs + (now.queuedMs - last.queuedMs)
    const usesDisk =
      now.ioBytes !== undefined &&
      last.ioBytes !== undefined &&
      now.ioBytes - last.ioBytes > (IDLE_BYTES * spanMs) / 1000
    if (usesDisk) this.#ioAt = now.atMs
    const isSilent = (this.#silentMs() ?? Number.POSITIVE_INFINITY) >= spanMs
    const isIdle = isSilent && !usesDisk && demandedMs < spanMs * IDLE_SHARE
    this.#idleSince = isIdle ? (this.#idleSince ?? last.atMs) : undefined
  }

  /** Formats the activity for the evidence. Returns undefined before the first reading. */
  describe(): string | undefined {
    if (this.#last === undefined) return undefined
    const { idleMs, sinceIoMs, queuedMs } = this
    const disk = Number.isFinite(sinceIoMs)
      ? `last used its disk ${formatDuration(sinceIoMs)} ago`
      : 'did not use its disk'
    const idle = idleMs === 0 ? 'its CPUs were busy' : `its CPUs were idle for ${formatDuration(idleMs)}`
    const queued = queuedMs < 1000 ? '' : `; it waited ${formatDuration(queuedMs)} for a host CPU`
    return `it ${disk}; ${idle}${queued}`
  }
}

/**
 * Reads `schedstat` (nanoseconds on a CPU, then in the run queue) and `io` (bytes of system calls),
 * see proc(5).
 */
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
    cpuMs: known.reduce((sum, [ran = 0]) => sum + ran, 0),
    queuedMs: Math.max(...known.map(([, queued = 0]) => queued)),
    ioBytes: counted.length === 0 ? undefined : counted.reduce((sum, bytes) => sum + bytes, 0),
  }
}
