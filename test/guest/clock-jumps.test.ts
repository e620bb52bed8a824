import { beforeAll, expect, test } from 'vitest'
import { findQemu } from '../../src/host/qemu-binary.js'
import { buildCli } from '../support/built-cli.js'
import { makeClock } from '../support/fake-clock.js'
import { installGuestPackages } from '../support/guest-packages.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { runScript } from '../support/run-script.js'

// It runs a program of its own with the built package, and with a clock of its own.
beforeAll(async () => {
  await installGuestPackages()
  await buildCli()
})

test('a clock of this host that is set to another day ends no wait too soon or too late, and no guest', async () => {
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
    const said = {}
    await withVM({ log: () => {} }, async (vm) => {
      const before = new Date()
      // A wait whose time would be up, and one that would have no end.
      const early = vm.serial.waitFor('spring', { timeout: '60s' })
      const late = vm.serial.waitFor('never', { timeout: '3s' }).catch((error) => error.code)
      set('+172800')
      said.jumpedDays = Math.round((new Date() - before) / 86_400_000)
      said.command = (await vm.ssh\`echo over there\`).stdout
      set('-259200')
      said.agent = (await vm.exec('echo and back')).stdout
      vm.serial.write('echo spri""ng\\n')
      await early
      said.late = await late
      said.killed = (await vm.exec('sleep 1000', { timeout: '1s' }).catch((error) => error)).code
      set('+259200')
      await vm.reboot()
      said.rebooted = (await vm.ssh\`echo again\`).stdout
    })
    // What was made at another time of day is still of use.
    set('-86400')
    await withVM({ log: () => {} }, async (vm) => {
      said.day = Math.round((Date.now() - 1000 * Number((await vm.ssh\`date +%s\`).stdout)) / 60_000)
    })
    console.log(JSON.stringify(said))`,
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
