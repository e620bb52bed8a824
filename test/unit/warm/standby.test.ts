import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { BootedGuest } from '../../../src/vm/boot/boot.js'
import { StandbyPool } from '../../../src/warm/standby.js'

const MINUTE_MS = 60_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** A guest that stays in use. */
const inUse = { disposed: new Promise<void>(() => {}) } as BootedGuest

/** Makes `pool` start a standby that never becomes ready. Returns the signal of that start. */
async function startSlowStandby(pool: StandbyPool): Promise<AbortSignal> {
  const started = new Promise<AbortSignal>((resolve) => {
    const start = ({ signal }: { readonly signal: AbortSignal }) => {
      resolve(signal)
      return new Promise<BootedGuest>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    }
    pool.follow(inUse, { fingerprint: 'slow', isTemporary: false, start }, true)
  })
  await vi.advanceTimersByTimeAsync(1000)
  return started
}

test('a standby that is not ready after a minute is discarded', async () => {
  const pool = new StandbyPool()
  const signal = await startSlowStandby(pool)
  expect(signal.aborted).toBe(false)
  await vi.advanceTimersByTimeAsync(MINUTE_MS)
  expect(signal.aborted).toBe(true)
  expect(await pool.take('slow', undefined)).toBeUndefined()
})

test('a test stops waiting for a slow standby after a minute', async () => {
  const pool = new StandbyPool()
  await startSlowStandby(pool)
  const taken = pool.take('slow', undefined)
  await vi.advanceTimersByTimeAsync(MINUTE_MS)
  expect(await taken).toBeUndefined()
})
