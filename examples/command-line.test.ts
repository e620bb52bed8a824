import { expect, test } from 'vitest'
import { launchVM } from 'withvm'

test('`commandLine` runs an existing QEMU command line with obsolete options', async () => {
  // #region line
  await using vm = await launchVM({
    commandLine:
      'qemu-kvm -no-kvm -drive file=tiny,if=virtio -net nic,model=virtio -net user -redir tcp:8080::80',
    hostfwd: [{ guest: 80 }], // any free host port, instead of 8080
  })
  expect(vm.importReport.replacedArguments.map(({ from, to }) => `${from} became ${to}`)).toContain(
    "-no-kvm became accel: 'tcg'",
  )
  // #endregion
})

test('a serial port of the guest is connected to the test', async () => {
  // #region ports
  await using vm = await launchVM({
    network: [{}, { hub: 'lan' }],
    ports: [{ name: 'line', type: 'serial' }],
  })
  await vm.ssh`echo hello > /dev/ttyS1`
  await vm.port('line').waitFor('hello')
  // #endregion
})
