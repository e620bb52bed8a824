import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { GuestPace } from '../../../../src/vm/watch/guest-pace.js'
import { StageClock, type StageClockOptions } from '../../../../src/vm/watch/stage-clock.js'

const NEVER = Number.POSITIVE_INFINITY
const rules = { lookMs: 50, stuckLeastMs: 400 }

type Program = ChildProcess & { readonly pid: number }

/** A process that does what the test is about. */
function program(source: string): Program {
  return run(process.execPath, '-e', source)
}

function idleProgram(): Program {
  return run('sleep', '1000')
}

function run(file: string, ...args: string[]): Program {
  const child = spawn(file, args, { stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child as Program
}

/** Gives why the time of a stage was over, and after how long. */
async function timeStage(
  pid: number,
  options: Partial<StageClockOptions> & { readonly deadlineMs: () => number },
): Promise<{ why: string; afterMs: number; words: string | undefined }> {
  const pace = new GuestPace(pid, () => undefined)
  const startedAt = performance.now()
  const why = await new Promise<string>((onEnd) => {
    new StageClock({ pace, sinceNewsMs: () => NEVER, canBeStuck: true, onEnd, rules, ...options })
  })
  return { why, afterMs: performance.now() - startedAt, words: pace.describe() }
}

test('a guest that does nothing at all is stuck long before its time is up', async () => {
  const { pid } = idleProgram()
  const { why, words } = await timeStage(pid, {
    deadlineMs: () => 1000 * 60,
    rules: { ...rules, stuckShare: 0.01 },
  })
  expect(why).toBe('stuck')
  expect(words).toMatch(/^it did not use its disk; its processors have had nothing to do for [\d.]+ m?s/)
})

test('one that may wait for its author is not', async () => {
  const { pid } = idleProgram()
  const { why } = await timeStage(pid, { deadlineMs: () => 900, canBeStuck: false })
  expect(why).toBe('time')
})

test('one that is busy is not stuck, and gets no more time for that', async () => {
  const { pid } = program('for (;;) {}')
  const { why, words } = await timeStage(pid, { deadlineMs: () => 500 })
  expect(why).toBe('time')
  expect(words).toContain('its processors were busy')
})

test('one that still prints something new gets more time, but not without end', async () => {
  const { pid } = program('for (;;) {}')
  const { why, afterMs } = await timeStage(pid, { deadlineMs: () => 400, sinceNewsMs: () => 0 })
  expect(why).toBe('time')
  expect(afterMs).toBeGreaterThanOrEqual(1150)
})

test('one that uses its disk gets more time too', async () => {
  const { pid } = program(`const { openSync, readSync } = require('node:fs')
    const file = openSync('/dev/zero')
    setInterval(() => readSync(file, Buffer.alloc(1e6)), 5)`)
  await sleep(1000)
  const { afterMs, words } = await timeStage(pid, {
    deadlineMs: () => 500,
    rules: { ...rules, newsShare: 2 },
  })
  expect(afterMs).toBeGreaterThanOrEqual(1400)
  expect(words).toMatch(/^it last used its disk \d+ ms ago/)
})

test('one that has to wait for a processor gets that time again', async () => {
  // More of them than there are processors: each has to wait.
  const pids = Array.from({ length: 4 * availableParallelism() }, () => program('for (;;) {}').pid)
  const { afterMs } = await timeStage(pids[0] as number, { deadlineMs: () => 600 })
  expect(afterMs).toBeGreaterThan(750)
})

test('a new stage has all of its time', async () => {
  const { pid } = program('for (;;) {}')
  const pace = new GuestPace(pid, () => undefined)
  let isOver = false
  const clock = new StageClock({
    pace,
    deadlineMs: () => 1600,
    sinceNewsMs: () => NEVER,
    canBeStuck: true,
    onEnd: () => {
      isOver = true
    },
    rules,
  })
  for (let stage = 0; stage < 4; stage++) {
    await sleep(500)
    clock.restart()
  }
  expect(isOver).toBe(false)
  clock.stop()
})
