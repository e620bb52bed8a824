import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { GuestPace } from '../../../../src/vm/watch/guest-pace.js'
import { StageClock, type StageClockOptions } from '../../../../src/vm/watch/stage-clock.js'

const NEVER = Number.POSITIVE_INFINITY
const rules = { pollMs: 50, stuckMinMs: 400 }

type Program = ChildProcess & { readonly pid: number }

/** Starts a process with the activity under test. */
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

/** Returns the reason for the end of a stage, and its duration. */
async function timeStage(
  pid: number,
  options: Partial<StageClockOptions> & { readonly limitMs: () => number },
): Promise<{ why: string; afterMs: number; words: string | undefined }> {
  const pace = new GuestPace(pid, () => undefined)
  const startedAt = performance.now()
  const why = await new Promise<string>((onEnd) => {
    new StageClock({ pace, sinceProgressMs: () => NEVER, canBeStuck: true, onEnd, rules, ...options })
  })
  return { why, afterMs: performance.now() - startedAt, words: pace.describe() }
}

test('an idle guest is reported as stuck long before its time limit', async () => {
  const { pid } = idleProgram()
  const { why, words } = await timeStage(pid, {
    limitMs: () => 1000 * 60,
    rules: { ...rules, stuckShare: 0.01 },
  })
  expect(why).toBe('stuck')
  expect(words).toMatch(/^it did not use its disk; its CPUs were idle for [\d.]+ m?s/)
})

test('an idle guest is reported as stuck after a time that does not grow with a long limit', async () => {
  const { pid } = idleProgram()
  const { why, words } = await timeStage(pid, {
    limitMs: () => 1000 * 3600,
    rules: { ...rules, stuckMaxMs: 600 },
  })
  expect(why).toBe('stuck')
  expect(words).toMatch(/its CPUs were idle for [\d.]+ m?s/)
})

test('a guest with its own `ready` check is never reported as stuck', async () => {
  const { pid } = idleProgram()
  const { why } = await timeStage(pid, { limitMs: () => 900, canBeStuck: false })
  expect(why).toBe('time')
})

test('a guest that only uses its CPU is not stuck, and gets no additional time', async () => {
  const { pid } = program('for (;;) {}')
  const { why, words } = await timeStage(pid, { limitMs: () => 500 })
  expect(why).toBe('time')
  expect(words).toContain('its CPUs were busy')
})

test('a guest that prints new lines gets more time, up to a maximum', async () => {
  const { pid } = program('for (;;) {}')
  const { why, afterMs } = await timeStage(pid, { limitMs: () => 400, sinceProgressMs: () => 0 })
  expect(why).toBe('time')
  expect(afterMs).toBeGreaterThanOrEqual(1150)
})

test('a guest that uses its disk gets more time', async () => {
  const { pid } = program(`const { openSync, readSync } = require('node:fs')
    const file = openSync('/dev/zero')
    setInterval(() => readSync(file, Buffer.alloc(1e6)), 5)`)
  await sleep(1000)
  const { afterMs, words } = await timeStage(pid, {
    limitMs: () => 500,
    rules: { ...rules, progressShare: 2 },
  })
  expect(afterMs).toBeGreaterThanOrEqual(1400)
  expect(words).toMatch(/^it last used its disk \d+ ms ago/)
})

test('time in the run queue is added to the limit', async () => {
  // More processes than CPUs: each has to wait.
  const pids = Array.from({ length: 4 * availableParallelism() }, () => program('for (;;) {}').pid)
  const { afterMs } = await timeStage(pids[0] as number, { limitMs: () => 600 })
  expect(afterMs).toBeGreaterThan(750)
})

test('a new stage has its full time limit', async () => {
  const { pid } = program('for (;;) {}')
  const pace = new GuestPace(pid, () => undefined)
  let isOver = false
  const clock = new StageClock({
    pace,
    limitMs: () => 1600,
    sinceProgressMs: () => NEVER,
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
