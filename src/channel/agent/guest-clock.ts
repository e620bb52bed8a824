import { pollUntil } from '../../common/poll.js'
import type { AgentWait, GuestAgent } from './guest-agent.js'

/** Reading of the guest's clock between two readings of the host's clock, in milliseconds. */
export interface ClockReading {
  readonly beforeMs: number
  readonly guestMs: number
  readonly afterMs: number
}

/** Speed of the guest's clock: 1 is the host's. The true value is between `min` and `max`. */
export interface ClockRate {
  readonly min: number
  readonly mean: number
  readonly max: number
}

/** Largest accepted difference between the speeds of the guest's and the host's clock. */
const TOLERANCE = 0.02
/** Pause between two readings. */
const PAUSE_MS = 100
/** Time for which inconclusive readings are repeated. */
const UNDECIDED_MS = 10_000

/**
 * Reads the guest's clock with the agent's `guest-get-time`, which starts no process.
 *
 * @throws {GuestError} AGENT_UNAVAILABLE when the agent does not respond in time, AGENT_FAILED when
 *   it returns an error.
 */
export async function readGuestClock(agent: GuestAgent, wait: AgentWait = {}): Promise<ClockReading> {
  await agent.ping(wait) // a backlog of the agent must not widen the reading
  const beforeMs = performance.now()
  const nanoseconds = await agent.execute('guest-get-time', undefined, wait)
  const afterMs = performance.now()
  return { beforeMs, guestMs: Number(nanoseconds) / 1e6, afterMs }
}

/** Returns the clock rate between two readings. Shorter readings give a more exact rate. */
export function compareClocks(first: ClockReading, second: ClockReading): ClockRate {
  const guestMs = second.guestMs - first.guestMs
  const minHostMs = Math.max(0, second.beforeMs - first.afterMs)
  const maxHostMs = second.afterMs - first.beforeMs
  return {
    min: guestMs / maxHostMs,
    mean: (2 * guestMs) / (minHostMs + maxHostMs),
    max: minHostMs === 0 ? Number.POSITIVE_INFINITY : guestMs / minHostMs,
  }
}

/**
 * Returns true if a clock runs at the host's speed. Undefined if the readings are too long to
 * decide.
 */
export function isClockRight({ min, max }: ClockRate): boolean | undefined {
  if (min > 1 + TOLERANCE || max < 1 - TOLERANCE) return false
  return min >= 1 - TOLERANCE && max <= 1 + TOLERANCE ? true : undefined
}

/**
 * Returns the frequency of the counter behind a clock: the one that the guest's kernel assumes if
 * the clock is right, else the corrected one. Undefined if the readings are too long to decide.
 */
export function correctFrequency(khz: number, rate: ClockRate): number | undefined {
  const isRight = isClockRight(rate)
  if (isRight === undefined) return undefined
  return isRight ? khz : khz * rate.mean
}

/**
 * Measures the rate of the guest's clock since an earlier reading. Repeats the measurement for up
 * to ten seconds, until it is conclusive.
 */
export async function measureClockRate(
  agent: GuestAgent,
  since: ClockReading,
  wait: AgentWait = {},
): Promise<ClockRate> {
  const measure = async () => {
    const reading = await readGuestClock(agent, wait)
    const rate = compareClocks(since, reading)
    const isOver = isClockRight(rate) !== undefined || reading.afterMs - since.afterMs > UNDECIDED_MS
    return isOver ? rate : undefined
  }
  return pollUntil(measure, { intervalMs: PAUSE_MS, signal: wait.signal })
}
