import { readdirSync, readFileSync } from 'node:fs'
import { expect, onTestFinished, test, vi } from 'vitest'
import { failedStep, parseLoopMs, runProbe } from '../../../../src/host/kvm/probe.js'
import { buildProbeRom } from '../../../../src/host/kvm/probe-rom.js'
import { findQemu } from '../../../../src/host/qemu-binary.js'
import { makeTemporaryDir } from '../fake-program.js'

test('the probe guest completes all stages under TCG', async () => {
  const qemu = await findQemu({ cacheDir: makeTemporaryDir() })
  const outcome = await runProbe({ qemu, accelerator: 'tcg', timeoutMs: 10_000 })
  expect(outcome).toMatchObject({ end: 'passed', stages: 'rplcxem', stderr: '' })
  expect(outcome.loopMs).toBeGreaterThan(0.3)
  expect(outcome.loopMs).toBeLessThan(200)
  expect(failedStep(outcome)).toBeUndefined()
})

test('an aborted probe rejects with the reason and leaves no process or file', async () => {
  const qemu = await findQemu({ cacheDir: makeTemporaryDir() })
  const dir = makeTemporaryDir()
  vi.stubEnv('TMPDIR', dir)
  onTestFinished(() => {
    vi.unstubAllEnvs()
  })
  const controller = new AbortController()
  const probe = runProbe({ qemu, accelerator: 'tcg', timeoutMs: 10_000, signal: controller.signal })
  setTimeout(() => controller.abort(new Error('enough')), 20)
  await expect(probe).rejects.toThrow('enough')
  expect(readdirSync(dir)).toEqual([])
  expect(runningProbes()).toEqual([])
})

test('a probe that times out is killed and reports the failed step', async () => {
  const qemu = await findQemu({ cacheDir: makeTemporaryDir() })
  const outcome = await runProbe({ qemu, accelerator: 'tcg', timeoutMs: 5 })
  expect(outcome).toMatchObject({ end: 'stuck', stages: '', exit: 'SIGKILL' })
  expect(failedStep(outcome)).toBe('run its first instruction')
  expect(runningProbes()).toEqual([])
})

test('the ROM has 64 KiB, and its listing has no gaps or overlaps', () => {
  const rom = buildProbeRom()
  expect(rom.length).toBe(65_536)
  expect([...rom.subarray(0xfff0, 0xfff3)]).toEqual([0xe9, 0x0d, 0x00])
  const source = readFileSync(new URL('../../../../src/host/kvm/probe-rom.ts', import.meta.url), 'utf8')
  const rows = [...source.matchAll(/^ {2}([0-9a-f]{4}) {2}([0-9a-f]+) /gm)]
  let next = 0
  for (const [, offset = '', bytes = ''] of rows.slice(0, -1)) {
    expect(Number.parseInt(offset, 16)).toBe(next)
    next += bytes.length / 2
  }
})

test('`parseLoopMs()` returns the fastest run by the clock of the guest', () => {
  // 26,000,000 ticks in 10 ms; the best run takes 2,600,000.
  const digits = (value: number) =>
    value
      .toString(16)
      .padStart(8, '0')
      .replace(/./g, (digit) => String.fromCharCode(65 + Number.parseInt(digit, 16)))
  const runs = [3_000_000, 2_600_000, 9_000_000, 2_700_000, 2_800_000]
  const output = `rplcxem ${[26_000_000, ...runs].map(digits).join(' ')}z`
  expect(parseLoopMs(output)).toBeCloseTo(1, 6)
  expect(parseLoopMs(output.slice(0, -1))).toBeUndefined()
  expect(parseLoopMs('rplcxem')).toBeUndefined()
})

/** Returns the child processes that run the ROM of the probe. */
function runningProbes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const parent = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        return parent === String(process.pid) && command.includes('-bios /proc/self/fd/3') ? [command] : []
      } catch {
        return []
      }
    })
}
