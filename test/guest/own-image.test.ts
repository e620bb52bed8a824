import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../../src/image/resolve-image.js'
import { failureOf } from '../support/failure-of.js'

/** The guest tiny, as a person would give a system of their own: withvm does not know what is on the disk. */
async function ownImage() {
  const { disk, directBoot } = await resolveImage('tiny')
  if (disk === undefined || directBoot === undefined) throw new Error('tiny has a disk and a kernel')
  const { kernel, initrd, append } = directBoot
  return { image: disk.path, kernel, initrd, append }
}

test('a guest with a host key of its own is logged in to, and may have another after each power-on', async () => {
  await using vm = await launchVM(await ownImage())
  expect((await vm.ssh`id -un`).stdout).toBe('root')
  // The disk for cloud-init is behind that of the system, and in the way of no checkpoint.
  await vm.checkpoint('begun')
  await vm.restore('begun')
  expect((await vm.ssh`ls /sys/block | grep vd`).stdout).toBe('vda\nvdb')
  await vm.powerCut()
  await vm.start()
  expect((await vm.ssh`id -un`).stdout).toBe('root')
})

test('a host key that changes while the guest is on is refused, although it was the own of the guest', async () => {
  await using vm = await launchVM(await ownImage())
  await vm.exec('kill $(pidof dropbear); rm -f /etc/dropbear/*_key; sleep 1; dropbear -R -s -p 22')
  const error = await failureOf(vm.ssh`true`)
  expect(error.code).toBe('SSH_HOST_KEY_CHANGED')
})
