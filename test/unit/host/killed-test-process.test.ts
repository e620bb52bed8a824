import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { sweepDeadWorkspaces } from '../../../src/vm/workspace/sweep.js'
import { buildCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript } from '../../support/run-script.js'

const ROUNDS = 12
/** Upper bound of the delay before the kill: the duration of the helper, which depends on the load of the host. */
const MAX_DELAY_MS = 120

// The scripts use the built package.
beforeAll(buildCli)

/** QEMU whose guest makes no progress, as with a broken KVM: the vCPUs stay paused. */
const STUCK_QEMU = '#!/bin/sh\nexec qemu-system-x86_64 -S "$@"\n'

const PROBE = `
import { findQemu } from '#dist/src/host/qemu-binary.js'
import { runProbe } from '#dist/src/host/kvm/probe.js'
const qemu = await findQemu({ qemu: process.env.STUCK_QEMU })
process.stdout.write('probing\\n')
for (;;) await runProbe({ qemu, accelerator: 'tcg', timeoutMs: 60_000 })
`

const QUERY = `
import { findQemu } from '#dist/src/host/qemu-binary.js'
import { queryQemu } from '#dist/src/host/query-qemu.js'
const qemu = await findQemu()
process.stdout.write('querying\\n')
for (;;) await queryQemu(qemu, [{ id: 'kvm', execute: 'query-kvm' }], (responses) => responses)
`

test.each([
  ['the KVM probe', PROBE],
  ['a query of the capabilities', QUERY],
])(
  'SIGKILL of the test process during %s leaves no process',
  async (_, source) => {
    const tmpdir = ownTmpdir()
    const stuck = join(tmpdir, 'qemu-system-x86_64-stuck')
    writeFileSync(stuck, STUCK_QEMU, { mode: 0o755 })
    for (let round = 0; round < ROUNDS; round++) {
      const script = runScript(tmpdir, source, 'script', { STUCK_QEMU: stuck })
      await new Promise((resolve) => script.stdout?.once('data', resolve))
      await sleep((MAX_DELAY_MS * round) / ROUNDS)
      script.kill('SIGKILL')
      await script
      await expect.poll(() => processesWith(`TMPDIR=${tmpdir}`), { timeout: 1000 }).toEqual([])
    }
  },
  120_000,
)

/** Kills itself while the probe writes its guest: the file and its folder exist for less than a millisecond. */
const KILLED_PROBE = `
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { runProbe } from '#dist/src/host/kvm/probe.js'
const { writeFile } = fs
fs.writeFile = async (...args) => {
  await writeFile(...args)
  process.kill(process.pid, 'SIGKILL')
}
syncBuiltinESMExports()
await runProbe({ qemu: { path: 'qemu-system-x86_64' }, accelerator: 'tcg', timeoutMs: 60_000 })
`

test('SIGKILL while the KVM probe writes its guest leaves no folder after the next sweep', async () => {
  const tmpdir = ownTmpdir()
  expect((await runScript(tmpdir, KILLED_PROBE)).signal).toBe('SIGKILL')
  expect(readdirSync(tmpdir)).toEqual([expect.stringMatching(/^withvm-/)])
  await sweepDeadWorkspaces(tmpdir)
  expect(readdirSync(tmpdir)).toEqual([])
})

/** Returns the command lines of the processes with that entry in their environment. */
function processesWith(entry: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && existsSync(`/proc/${name}/environ`))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry)) return []
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')]
      } catch {
        return [] // the process has ended
      }
    })
}
