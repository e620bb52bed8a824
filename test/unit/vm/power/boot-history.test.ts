import { expect, test } from 'vitest'
import type { Machine } from '../../../../src/vm/machine/machine.js'
import { BootHistory } from '../../../../src/vm/power/boot-history.js'
import { ownCache } from '../../../support/own-cache.js'

/** Machine that no test boots. */
const machine = {
  spec: { image: { name: 'of this test', fingerprint: String(Math.random()) }, memoryBytes: 1, cpus: 1 },
  host: { accelerator: 'tcg', qemu: { fingerprint: 'none' } },
} as unknown as Machine

test('the time limit of a stage grows with its recorded duration', async () => {
  ownCache()
  expect((await BootHistory.open(machine)).limitMs('init')).toBe(0)
  const timeline = (initMs: number) =>
    [
      { stage: 'kernel', atMs: 0 },
      { stage: 'init', atMs: 5000 },
      { stage: 'ready', atMs: 5000 + initMs },
    ] as const
  await (await BootHistory.open(machine)).record(timeline(600_000))
  const history = await BootHistory.open(machine)
  // Four times the recorded duration, independent of the load.
  expect(history.limitMs('init') / history.limitMs('kernel')).toBeCloseTo(120, 0)
  await history.record(timeline(1000))
  expect((await BootHistory.open(machine)).limitMs('init')).toBeLessThan(history.limitMs('kernel') * 121)
})
