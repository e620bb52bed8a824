import { expect, test } from 'vitest'
import { launchVM } from 'withvm'

test('a command line that is there already', async () => {
  // #region line
  await using vm = await launchVM({
    commandLine:
      'qemu-kvm -no-kvm -drive file=tiny,if=virtio -net nic,model=virtio -net user -redir tcp:8080::80',
    hostfwd: [{ guest: 80 }], // any free port, in place of the line's
  })
  expect(vm.translated.map(({ from, to }) => `${from} became ${to}`)).toContain("-no-kvm became accel: 'tcg'")
  // #endregion
})

test('two guests and a port', async () => {
  // #region ports
  await using one = await launchVM({
    network: [{}, { hub: 'lan' }],
    ports: [{ name: 'line', type: 'serial' }],
  })
  await one.ssh`echo hello > /dev/ttyS1`
  await one.port('line').waitFor('hello')
  // #endregion
})
