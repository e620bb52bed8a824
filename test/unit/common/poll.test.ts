import { expect, test } from 'vitest'
import { pollUntil } from '../../../src/common/poll.js'

test('a check is called until it returns a value', async () => {
  let calls = 0
  const check = () => (++calls === 3 ? 'done' : undefined)
  expect(await pollUntil(check, { intervalMs: 1 })).toBe('done')
  expect(calls).toBe(3)
})

test('a poll calls its check a last time at its timeout, then returns undefined', async () => {
  const startedAt = performance.now()
  const calls: number[] = []
  const check = () => void calls.push(performance.now() - startedAt)
  expect(await pollUntil(check, { intervalMs: 10_000, timeoutMs: 50 })).toBeUndefined()
  expect(calls.at(-1)).toBeGreaterThanOrEqual(50)
  expect(performance.now() - startedAt).toBeLessThan(5000)
})

test('poll pauses grow by half, up to `maxIntervalMs`', async () => {
  const pauses: number[] = []
  const check = (pauseMs: number) => (pauses.push(pauseMs) === 5 ? true : undefined)
  await pollUntil(check, { intervalMs: 2, maxIntervalMs: 6 })
  expect(pauses).toEqual([2, 3, 4.5, 6, 6])
})

test('an abort ends the pause of a poll and rejects with its reason', async () => {
  const caller = new AbortController()
  const polled = pollUntil(() => undefined, { intervalMs: 10_000, signal: caller.signal })
  const reason = new Error('no longer needed')
  setImmediate(() => caller.abort(reason))
  await expect(polled).rejects.toBe(reason)
})

test('an aborted signal ends a poll before the first call', async () => {
  const check = () => expect.unreachable()
  await expect(pollUntil(check, { intervalMs: 1, signal: AbortSignal.abort('over') })).rejects.toBe('over')
})
