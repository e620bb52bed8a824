import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../../src/image/resolve-image.js'
import { failureOf } from '../support/failure-of.js'

/** Returns the options for the disk of `tiny` as a custom image, whose content is unknown to withvm. */
async function ownImage() {
  const { disk, directBoot } = await resolveImage('tiny')
  if (disk === undefined || directBoot === undefined) throw new Error('tiny has a disk and a kernel')
  const { kernel, initrd, append } = directBoot
  // The disk contains an identity agent, and withvm cannot start a second one.
  return { image: disk.path, kernel, initrd, append, start: 'cold' } as const
}

test('a guest with its own host key is logged in to, and its host key may change at a power-on', async () => {
  await using vm = await launchVM(await ownImage())
  expect((await vm.ssh`id -un`).stdout).toBe('root')
  // The cloud-init disk comes after the system disk and does not prevent checkpoints.
  await vm.checkpoint('first')
  await vm.restore('first')
  expect((await vm.ssh`ls /sys/block | grep vd`).stdout).toBe('vda\nvdb')
  await vm.powerCut()
  await vm.start()
  expect((await vm.ssh`id -un`).stdout).toBe('root')
})

test('a host key that changes while the guest runs is rejected, even for an image with its own host key', async () => {
  await using vm = await launchVM(await ownImage())
  await vm.exec('kill $(pidof dropbear); rm -f /etc/dropbear/*_key; sleep 1; dropbear -R -s -p 22')
  const error = await failureOf(vm.ssh`true`)
  expect(error.code).toBe('SSH_HOST_KEY_CHANGED')
})
