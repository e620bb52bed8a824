import { beforeAll, expect, test } from 'vitest'
import { findQemu } from '../../src/host/qemu-binary.js'
import { buildCli } from '../support/built-cli.js'
import { makeClock } from '../support/fake-clock.js'
import { installGuestPackages } from '../support/guest-packages.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

// The test runs a program with its own clock, which imports the built package.
beforeAll(async () => {
  await installGuestPackages()
  await buildCli()
})

test('a host clock that is set to another day changes neither the length of waits nor the guest', async () => {
  const folder = ownTmpdir()
  const { path } = await findQemu()
  const clock = makeClock(folder, path)
  if (clock === undefined) throw new Error('the package libfaketime is not installed')
  const script = runScript(
    folder,
    `import { renameSync, writeFileSync } from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    const file = process.env.FAKETIME_TIMESTAMP_FILE
    const set = (seconds) => { writeFileSync(file + '.new', seconds); renameSync(file + '.new', file) }
    const results = {}
    await withVM({ log: () => {} }, async (vm) => {
      const before = new Date()
      // By the wall clock, the first wait would time out at once and the second one never.
      const early = vm.serial.waitFor('spring', { timeout: '60s' })
      const late = vm.serial.waitFor('never', { timeout: '3s' }).catch((error) => error.code)
      set('+172800')
      results.jumpedDays = Math.round((new Date() - before) / 86_400_000)
      results.command = (await vm.ssh\`echo over there\`).stdout
      set('-259200')
      results.agent = (await vm.exec('echo and back')).stdout
      vm.serial.write('echo spri""ng\\n')
      await early
      results.late = await late
      results.killed = (await vm.exec('sleep 1000', { timeout: '1s' }).catch((error) => error)).code
      set('+259200')
      await vm.reboot()
      results.rebooted = (await vm.ssh\`echo again\`).stdout
    })
    // A template that was made at another time is still usable.
    set('-86400')
    await withVM({ log: () => {} }, async (vm) => {
      results.day = Math.round((Date.now() - 1000 * Number((await vm.ssh\`date +%s\`).stdout)) / 60_000)
    })
    console.log(JSON.stringify(results))`,
    'clock',
    clock.env,
  )
  const { stdout, stderr } = await script
  expect(JSON.parse(stdout || JSON.stringify(stderr))).toEqual({
    jumpedDays: 2,
    command: 'over there',
    agent: 'and back',
    late: 'SERIAL_TIMEOUT',
    killed: 'COMMAND_TIMEOUT',
    rebooted: 'again',
    day: 0,
  })
  expect(findLeftovers(folder)).toEqual(NOTHING)
})
