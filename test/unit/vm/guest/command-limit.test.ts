import { expect, test } from 'vitest'
import { TestEnds } from '../../../../src/channel/command-result.js'
import { limitCommand } from '../../../../src/vm/guest/command-limit.js'

/** Runs a command that ends only with its test, in a guest with these processes. Returns the reason of its end. */
async function endWithTest(processes: string): Promise<unknown> {
  const limited = { limit: () => 50, signal: undefined, listProcesses: async () => processes }
  return limitCommand(
    limited,
    (signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve(signal.reason))),
  )
}

test('a process list of the guest with any text is shortened at once', async () => {
  const startedAt = performance.now()
  const reason = await endWithTest(`PID ARGS\n 1 ${'['.repeat(200_000)}\n 2 [kthreadd]\n 3 sleep 1`)
  expect(performance.now() - startedAt).toBeLessThan(2000)
  expect(reason).toBeInstanceOf(TestEnds)
  expect((reason as TestEnds).processes).toMatch(/^PID ARGS\n 1 \[+\n 3 sleep 1$/)
})
