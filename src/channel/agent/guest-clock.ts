import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentWait, GuestAgent } from './guest-agent.js'

/** A reading of the guest's clock, made between two readings of the host's. Milliseconds. */
export interface ClockReading {
  readonly beforeMs: number
  readonly guestMs: number
  readonly afterMs: number
}

/** Speed of the guest's clock: 1 is the host's. The true value is between `least` and `most`. */
export interface ClockRate {
  readonly least: number
  readonly middle: number
  readonly most: number
}

/** Largest accepted difference between the speeds of the guest's and the host's clock. */
const TOLERANCE = 0.02
/** A pause between two readings, and how long readings are repeated while they do not tell right from wrong, milliseconds. */
const PAUSE_MS = 100
const UNDECIDED_MS = 10_000

/**
 * Reads the guest's clock. The agent does so by itself (`guest-get-time`), without starting a process.
 *
 * @throws {GuestError} AGENT_UNAVAILABLE, AGENT_FAILED.
 */
export async function readGuestClock(agent: GuestAgent, wait: AgentWait = {}): Promise<ClockReading> {
  await agent.ping(wait) // whatever the agent has to catch up with does not widen the reading
  const beforeMs = performance.now()
  const nanoseconds = await agent.execute('guest-get-time', undefined, wait)
  const afterMs = performance.now()
  return { beforeMs, guestMs: Number(nanoseconds) / 1e6, afterMs }
}

/** Compares two readings. Host time between them is known as exactly as both readings are short. */
export function compareClocks(first: ClockReading, second: ClockReading): ClockRate {
  const guestMs = second.guestMs - first.guestMs
  const leastHostMs = Math.max(0, second.beforeMs - first.afterMs)
  const mostHostMs = second.afterMs - first.beforeMs
  return {
    least: guestMs / mostHostMs,
    middle: (2 * guestMs) / (leastHostMs + mostHostMs),
    most: leastHostMs === 0 ? Number.POSITIVE_INFINITY : guestMs / leastHostMs,
  }
}

/** Returns whether a clock runs at the host's speed; undefined where the readings are too long to tell. */
export function isClockRight({ least, most }: ClockRate): boolean | undefined {
  if (least > 1 + TOLERANCE || most < 1 - TOLERANCE) return false
  return least >= 1 - TOLERANCE && most <= 1 + TOLERANCE ? true : undefined
}

/**
 * Returns the frequency of the counter that a clock is made of, from the frequency that the guest's kernel assumes: that one where
 * the clock is right, the corrected one where it is wrong. Undefined where the readings are too long to tell.
 */
export function correctFrequency(khz: number, rate: ClockRate): number | undefined {
  const isRight = isClockRight(rate)
  if (isRight === undefined) return undefined
  return isRight ? khz : khz * rate.middle
}

/**
 * Measures how fast the guest's clock has run since an earlier reading. Reads it again until it is certain whether the clock is
 * right, or for ten seconds.
 */
export async function measureClockRate(
  agent: GuestAgent,
  since: ClockReading,
  wait: AgentWait = {},
): Promise<ClockRate> {
  for (;;) {
    const reading = await readGuestClock(agent, wait)
    const rate = compareClocks(since, reading)
    if (isClockRight(rate) !== undefined || reading.afterMs - since.afterMs > UNDECIDED_MS) return rate
    await sleep(PAUSE_MS, undefined, { signal: wait.signal })
  }
}
