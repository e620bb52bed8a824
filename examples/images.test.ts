import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { launchVM } from 'withvm'
import { resolveImage } from '../src/image/resolve-image.js'
import { makeBusyboxDisk, makeBusyboxRoot } from '../test/support/busybox-root.js'
import { encrypt } from '../test/support/disk-images.js'
import { ownCache } from '../test/support/own-cache.js'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

/** Starts an HTTP server for one image and returns the URL of the image. */
async function serve(path: string): Promise<string> {
  const server = createServer((_, response) => response.end(readFileSync(path))).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/system.qcow2`
}

test('a guest boots from a downloaded image', async () => {
  const { disk, directBoot } = await resolveImage('tiny')
  const path = disk?.path as string
  const { kernel, initrd, append } = directBoot ?? {}
  const url = await serve(path)
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex')
  ownCache()
  // #region url
  await using vm = await launchVM({
    image: { url, sha256 }, // or `sha512`: the checksum from the publisher
    kernel, // `kernel`, `initrd` and `append`: only for a disk without a boot loader
    initrd,
    append,
  })
  expect((await vm.ssh`id -un`).stdout).toBe('root')
  // #endregion
})

test('a guest boots from the folder of a root file system', async () => {
  const rootfs = await makeBusyboxRoot('#!/bin/sh\necho "demo: $(uname -s) is up"\nexec sh\n')
  ownCache()
  // #region root
  await using vm = await launchVM({
    image: rootfs, // a folder, or a tarball such as './rootfs.tar.gz'
    ssh: false, // the image has no SSH server
    ready: /^demo: Linux is up/m,
  })
  await vm.serial.write('echo $((6 * 7))\n')
  await vm.serial.waitFor(/^42/m)
  // #endregion
})

test('a guest boots from a LUKS-encrypted image', async () => {
  const { directBoot } = await resolveImage('tiny')
  const { kernel, initrd, append } = directBoot ?? {}
  const [dir, passphrase] = [ownTmpdir(), 'open sesame']
  const disk = await makeBusyboxDisk('#!/bin/sh\necho "demo: the disk is open"\nexec sh\n')
  const path = encrypt(disk, join(dir, 'system.luks'), 'luks', passphrase)
  const file = join(dir, 'passphrase')
  writeFileSync(file, passphrase)
  // #region secret
  await using vm = await launchVM({
    image: { path, secret: { file } }, // or secret: process.env.PASSPHRASE
    kernel,
    initrd,
    append,
    ssh: false,
    ready: /^demo: the disk is open/m,
  })
  // #endregion
  expect(vm.serial.text).toContain('the disk is open')
})
