import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { microvmArguments } from '../../support/microvm-arguments.js'

test('a microvm is reachable over SSH after its key was installed on the console', async () => {
  const append = microvmArguments()
  await using vm = await launchVM({ machine: 'microvm', login: { user: 'root' }, append, log: () => {} })
  expect((await vm.ssh`ip -o -4 addr show eth0`).stdout).toContain('10.0.2.15')
})
