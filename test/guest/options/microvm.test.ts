import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { microvmArguments } from '../../support/microvm-arguments.js'

test('a microvm boots its kernel directly, without the devices of a PC', async () => {
  await using vm = await launchVM({
    machine: 'microvm',
    append: microvmArguments(),
    ssh: false,
    ready: /withvm: network 10\.0\.2\.15/,
    log: () => {},
  })
  await vm.serial.write('ls /sys/class/dmi/id || echo no-"dmi"; ls /sys/bus/pci/devices; echo the-"end"\n')
  await vm.serial.waitFor('the-end')
  const shown = vm.serial.text.slice(vm.serial.text.indexOf('ls /sys'))
  expect(shown).toContain('0000:00:01.0') // no host bridge, IDE controller or ISA bridge of a PC before it
  expect(shown).not.toContain('0000:00:01.1')
  expect(shown).toContain('no-dmi')
})

test('a microvm that cannot receive an SSH key is rejected', async () => {
  const error = await failureOf(launchVM({ machine: 'microvm', log: () => {} }))
  expect(error.message).toContain(
    "machine: expected another machine type, or one of `login: { user: 'root' }` and `ssh: false`, got 'microvm' for 'tiny', which has no SMBIOS to pass the SSH key to the guest",
  )
})
