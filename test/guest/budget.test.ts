import { readdirSync, readFileSync } from 'node:fs'
import { beforeAll, expect, test } from 'vitest'
import { launchVMs, withVM } from 'withvm'
import { readLeases } from '../../src/budget/lease-files.js'
import { buildCli } from '../support/built-cli.js'
import { failureOf } from '../support/failure-of.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownPool } from '../support/own-pool.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

beforeAll(buildCli)

/** Sums the proportional set size of all guests of a folder, MiB: shared memory counts once. */
function sumPss(folder: string): number {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return '' // the process has ended
    }
  }
  const kib = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).includes(`${folder}/withvm-`))
    .map((pid) => Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0))
  return Math.round(kib.reduce((sum, one) => sum + one, 0) / 1024)
}

test('twelve guests of four processes never use more than WITHVM_MEMORY together', async () => {
  const tmpdir = ownTmpdir()
  const env = ownPool({ WITHVM_MEMORY: '512M' })
  const source = `for (let run = 0; run < 3; run++) {
    await withVM({ log: () => {}, standby: true }, async (vm) => {
      await vm.ssh('head -c 8000000 /dev/urandom >/tmp/some; sleep 0.3')
      console.log(vm.name)
    })
  }`
  let peakMiB = 0
  const watching = setInterval(() => {
    peakMiB = Math.max(peakMiB, sumPss(tmpdir))
  }, 50)
  const runs = [1, 2, 3, 4].map((worker) => runScript(tmpdir, source, `worker-${worker}`, env))
  const results = await Promise.all(runs)
  clearInterval(watching)
  for (const result of results) expect(result.stderr).toBe('')
  expect(results.map(({ stdout }) => stdout)).toEqual(Array(4).fill('tiny\ntiny\ntiny'))
  expect(peakMiB).toBeGreaterThan(50)
  expect(peakMiB).toBeLessThanOrEqual(512)
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(readLeases()).toEqual([])
})

test('`launchVMs()` starts all guests or none, and disposes of them together', async () => {
  const tmpdir = ownTmpdir()
  ownPool()
  const options = { tmpdir, standby: false, log: () => {} }
  {
    await using vms = await launchVMs([
      { ...options, name: 'server' },
      { ...options, name: 'client' },
    ])
    const names = await Promise.all(vms.map((vm) => vm.ssh`hostname`))
    expect(names.map(({ stdout }) => stdout)).toEqual(['server', 'client'])
    expect(readLeases().map(({ state }) => state)).toEqual(['running', 'running'])
  }
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  const error = await failureOf(
    launchVMs([
      { ...options, name: 'good' },
      { ...options, name: 'bad', qemuArgs: ['-no-such-option'] },
    ]),
  )
  expect(error.code).toBe('QEMU_FAILED')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(readLeases()).toEqual([])
})

test('a guest that exceeds the memory limit for all guests is rejected before it boots', async () => {
  const tmpdir = ownTmpdir()
  ownPool({ WITHVM_MEMORY: '128M' })
  const error = await failureOf(withVM({ tmpdir, log: () => {} }, () => {}))
  expect(error.message.replace(/-[0-9a-f]{6}'/, "'")).toBe(
    `The guest 'tiny' cannot start on this host: its memory exceeds the limit for all guests.
  Expected: at most 128 MiB (WITHVM_MEMORY)
  Got:      256 MiB (\`memory\`)
Fix: Reduce \`memory\`, or increase WITHVM_MEMORY.`,
  )
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
})
