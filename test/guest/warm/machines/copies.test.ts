import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../../../../src/image/resolve-image.js'
import { packBusyboxInitrd } from '../../../support/busybox-root.js'
import { failureOf } from '../../../support/failure-of.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

/** A shell without a login, in an initial RAM file system. */
const INIT = `#!/bin/sh
/bin/busybox mkdir -p /dev /proc
/bin/busybox mount -t devtmpfs dev /dev
echo 'the initramfs is up'
while :; do /bin/busybox setsid -c /bin/sh </dev/ttyS0 >/dev/ttyS0 2>&1; done
`

/** Returns the options of a guest that consists of a kernel and an initramfs. */
async function describeGuest() {
  const { directBoot } = await resolveImage('tiny')
  const initrd = join(ownTmpdir(), 'initrd')
  writeFileSync(initrd, await packBusyboxInitrd(INIT))
  return {
    kernel: directBoot?.kernel,
    initrd,
    append: 'console=ttyS0 quiet panic=0',
    memory: '128M',
    ssh: false,
    ready: /the initramfs is up/,
    log: () => {},
  } as const
}

/** Runs a command in the shell on the console and waits for its output. */
async function run(vm: Awaited<ReturnType<typeof launchVM>>, command: string, output: string) {
  const from = vm.serial.mark()
  await vm.serial.type(`${command}\n`)
  await vm.serial.waitFor(new RegExp(`^${output}`, 'm'), { from })
}

test('a kernel and an initramfs without a disk start warm as exact copies', async () => {
  const copies = { ...(await describeGuest()), start: 'warm', identity: 'shared' } as const
  await using one = await launchVM(copies)
  await using two = await launchVM(copies)
  expect([one, two].map((vm) => vm.startedFrom.kind)).toEqual(['template', 'template'])
  await run(one, 'echo mine >/mine; echo a-"b"', 'a-b')
  await run(two, 'cat /mine || echo not-"mine"', 'not-mine')
})

test('a guest without a disk has checkpoints', async () => {
  await using vm = await launchVM({ ...(await describeGuest()), start: 'cold' })
  await run(vm, 'echo old >/state; echo saved-"1"', 'saved-1')
  await vm.checkpoint('old')
  await run(vm, 'echo new >/state; echo changed-"1"', 'changed-1')
  await vm.restore('old')
  await run(vm, 'cat /state', 'old')
  await vm.checkpoint('old')
  await vm.restore('old')
  await run(vm, 'cat /state', 'old')
})

test("`identity: 'shared'` requires `start: 'warm'`", async () => {
  const error = await failureOf(launchVM({ ssh: false, identity: 'shared' }))
  expect(error.message).toContain(
    "identity: expected `start: 'warm'` too, got 'shared' without `start: 'warm'`",
  )
})

test('a kernel without an image boots cold, and the fix is logged once', async () => {
  const options = await describeGuest()
  const lines: string[] = []
  const log = (line: string) => lines.push(line)
  for (let start = 0; start < 2; start++) {
    await using vm = await launchVM({ ...options, log })
    expect(vm.startedFrom).toEqual({ kind: 'cold', reason: 'the guest has no image, only a kernel' })
  }
  expect(lines).toEqual([
    expect.stringMatching(/ is booted cold: .* Fix: Set `start: 'warm'` and `identity: 'shared'`/),
  ])
})
