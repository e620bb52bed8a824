import { chmodSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import ssh2 from 'ssh2'
import { expect, onTestFinished, test } from 'vitest'
import { launchVM, type VMOptions } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Launches a guest with invalid options, and checks that no files or processes are left. */
async function refusal(options: VMOptions, tmpdir = ownTmpdir()) {
  const error = await failureOf(launchVM({ ssh: false, ready: 'none', ...options, tmpdir }))
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  expect(error.hint).not.toBe('')
  return error
}

const NOBODY = 65_534

async function qcow2(path: string): Promise<string> {
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', path, '64M'])
  return path
}

test('`launchVM()` rejects with QEMU_NOT_FOUND for a missing QEMU', async () => {
  const error = await refusal({ qemu: '/nowhere/qemu-system-x86_64' })
  expect(error.code).toBe('QEMU_NOT_FOUND')
  expect(error.kind).toBe('infrastructure')
})

test('the error for an old QEMU names the minimum version', async () => {
  const folder = ownTmpdir()
  const old = join(folder, 'qemu-system-x86_64')
  writeFileSync(old, '#!/bin/sh\necho "QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11+deb11u3)"\n', {
    mode: 0o755,
  })
  const error = await refusal({ qemu: old })
  expect(error.code).toBe('QEMU_TOO_OLD')
  expect(error.message).toContain('7.2')
  expect(error.message).toContain('5.2.0')
})

test('the error for an unknown image suggests a similar name', async () => {
  const error = await refusal({ image: 'tiney' })
  expect(error.code).toBe('IMAGE_NOT_FOUND')
  expect(error.hint).toContain("'tiny'")
})

test('an empty image, a truncated image and a folder are rejected with IMAGE_INVALID', async () => {
  const folder = ownTmpdir()
  const empty = join(folder, 'empty.qcow2')
  writeFileSync(empty, '')
  expect(await refusal({ image: empty })).toMatchObject({ code: 'IMAGE_INVALID' })
  const cut = await qcow2(join(folder, 'cut.qcow2'))
  truncateSync(cut, 100)
  expect(await refusal({ image: cut })).toMatchObject({ code: 'IMAGE_INVALID' })
  expect(await refusal({ image: folder })).toMatchObject({ code: 'IMAGE_INVALID' })
})

test('an image without read permission is rejected with IMAGE_INVALID', async () => {
  const folder = ownTmpdir()
  chmodSync(folder, 0o777)
  const path = await qcow2(join(folder, 'secret.qcow2'))
  chmodSync(path, 0)
  // Root may read all files, so the test switches to another user.
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(NOBODY)
  try {
    const error = await refusal({ image: path }, folder)
    expect(error.code).toBe('IMAGE_INVALID')
    expect(error.message).toContain(path)
    expect(error.message).toMatch(/permission|EACCES/i)
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
})

test('an image whose format differs from the specified one is rejected with both formats', async () => {
  const path = await qcow2(join(ownTmpdir(), 'disk.img'))
  const error = await refusal({ image: { path, format: 'vmdk' } })
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('vmdk')
  expect(error.message).toContain('qcow2')
})

test('an image that another process writes to is rejected with IMAGE_LOCKED', async () => {
  const path = await qcow2(join(ownTmpdir(), 'busy.qcow2'))
  const writer = execa('qemu-io', [path], { stdin: 'pipe', reject: false })
  onTestFinished(async () => {
    writer.kill()
    await writer
  })
  writer.stdin.write('write 0 4k\n')
  await new Promise((resolve) => writer.stdout.once('data', resolve))
  // An image with unflushed writes looks truncated.
  truncateSync(path, 128 * 1024)
  const error = await refusal({ image: path })
  expect(error.code).toBe('IMAGE_LOCKED')
})

test('a kernel of an invalid format is rejected before QEMU starts', async () => {
  const kernel = join(ownTmpdir(), 'vmlinuz.gz')
  writeFileSync(kernel, gzipSync('a kernel'))
  const packed = await refusal({ kernel, arch: 'x86_64' })
  expect(packed.code).toBe('INVALID_OPTIONS')
  expect(packed.message).toContain(
    `kernel: expected a kernel for x86_64 guests, got "${kernel}", which is compressed with gzip: unpack it first`,
  )
  const fifo = join(ownTmpdir(), 'fifo')
  await execa('mkfifo', [fifo])
  const message = `got "${fifo}", which is not a regular file`
  expect((await refusal({ kernel: fifo, arch: 'x86_64' })).message).toContain(message)
})

test('a disk without boot code is rejected before QEMU starts', async () => {
  const path = join(ownTmpdir(), 'data.raw')
  writeFileSync(path, Buffer.alloc(1024 * 1024))
  const error = await refusal({ image: path, arch: 'x86_64', ssh: undefined, ready: 'ssh' })
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('cannot be booted by a BIOS: it has no boot loader.')
})

test('a kernel that is not a kernel, and missing files, are rejected', async () => {
  const folder = ownTmpdir()
  const kernel = join(folder, 'vmlinuz')
  writeFileSync(kernel, 'not a kernel\n'.repeat(1000))
  const wrong = await refusal({ kernel })
  expect(wrong.code).toBe('IMAGE_INVALID')
  expect(wrong.message).toContain('kernel')
  const missing = await refusal({ kernel: join(folder, 'gone'), initrd: folder })
  expect(missing.code).toBe('INVALID_OPTIONS')
  expect(missing.message).toContain(
    `kernel: expected a readable file, got "${join(folder, 'gone')}", which does not exist`,
  )
  expect(missing.message).toContain(`initrd: expected a readable file, got "${folder}", which is a folder`)
})

test('an unknown option, machine, CPU, network card and an invalid memory size are reported in one error', async () => {
  const options = {
    memroy: 1,
    memory: '-1',
    machine: 'q53',
    cpu: 'qemu46',
    network: { model: 'e1001' },
  } as VMOptions
  const error = await refusal(options)
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message.replaceAll(/by QEMU \d\S+?( \(.*?\))?,/g, 'by QEMU VERSION,')).toMatchInlineSnapshot(`
    "5 options are invalid; no guest was started.
      - memory: expected an amount of memory such as '512M', '2G', or a number of MiB, at least 16 MiB, got "-1"
      - memroy: expected 'memory', got an unknown option
      - machine: expected a machine type supported by QEMU VERSION, such as 'q35', got "q53"
      - cpu: expected a CPU model supported by QEMU VERSION, such as 'qemu64', 'qemu32', got "qemu46"
      - network.model: expected a network card supported by QEMU VERSION, such as 'e1000', got "e1001"
    Fix: Change the options listed above. docs/options.md describes all options."
  `)
})

test('a missing TFTP folder is rejected', async () => {
  const error = await refusal({ network: { tftp: '/nowhere/at/all' } })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toContain('network.tftp')
})

test('invalid `qemuArgs` reject with the message of QEMU', async () => {
  const error = await refusal({ image: 'tiny', qemuArgs: ['-no-such-thing'] })
  expect(error.code).toBe('QEMU_FAILED')
  expect(error.message).toContain('invalid option')
})

test('the error for an invalid private key does not quote the key', async () => {
  const error = await refusal({ ssh: { privateKey: 'my secret' } })
  expect(error.message).toBe(`1 option is invalid; no guest was started.
  - ssh.privateKey: expected a private key (OpenSSH or PEM), and \`ssh.passphrase\` if the key is encrypted, got an unusable key: Unsupported key format
Fix: Change the options listed above. docs/options.md describes all options.`)
})

test('`cloudInit` is rejected for an image without cloud-init', async () => {
  const error = await refusal({ image: 'tiny', cloudInit: { userData: { packages: ['a'] } } })
  expect(error.message).toBe(`1 option is invalid; no guest was started.
  - cloudInit: expected a disk image that includes cloud-init, got the image tiny, which does not include cloud-init
Fix: Change the options listed above. docs/options.md describes all options.`)
})

test('a private key in a missing file, or encrypted without the passphrase, is rejected', async () => {
  expect((await refusal({ ssh: { privateKey: { file: '/no/such' } } })).message).toContain(
    '  - ssh.privateKey.file: expected a readable file, got "/no/such", which does not exist\n',
  )
  const file = join(ownTmpdir(), 'key')
  const encryption = { cipher: 'aes256-ctr', passphrase: 'open sesame', rounds: 4 }
  writeFileSync(file, ssh2.utils.generateKeyPairSync('ed25519', encryption).private)
  expect((await refusal({ ssh: { privateKey: { file } } })).message).toContain(
    'expected a private key (OpenSSH or PEM), and `ssh.passphrase` if the key is encrypted, got',
  )
  expect((await refusal({ ssh: { privateKey: { file }, passphrase: 'wrong' } })).message).toContain(
    'expected a private key (OpenSSH or PEM) that `ssh.passphrase` decrypts, got',
  )
})

test('a `hostfwd` address of another host is rejected', async () => {
  const foreign = await refusal({ image: 'tiny', hostfwd: [{ guest: 80, bind: '192.0.2.1' }] })
  expect(foreign.code).toBe('PORT_UNAVAILABLE')
  expect(foreign.message).toContain("No free host port was found on 192.0.2.1 for the guest's tcp")
  const none = await refusal({ hostfwd: [{ guest: 80, bind: '999.1.1.1' }] })
  expect(none.message).toContain('hostfwd[0].bind: expected an IPv4 address of this host')
})

test('port 0 in `hostfwd` is rejected', async () => {
  const error = await refusal({ hostfwd: [{ guest: 0 }] })
  expect(error.message).toContain('hostfwd[0].guest: expected a port, 1 to 65535, got 0')
})

test('two guests can use one image at the same time', async () => {
  const folder = ownTmpdir()
  const path = await qcow2(join(folder, 'shared.qcow2'))
  const tmpdir = join(folder, 'runs')
  mkdirSync(tmpdir)
  const options = { image: path, ssh: false, ready: 'none', tmpdir } as const
  await using one = await launchVM(options)
  await using two = await launchVM(options)
  expect([one.isRunning, two.isRunning]).toEqual([true, true])
})

test('the error for an unknown device suggests a similar name', async () => {
  const error = await refusal({ devices: [{ driver: 'virtio-rng-pcl' }] })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toMatch(
    /devices\[0\]\.driver: expected a device supported by QEMU .*, such as 'virtio-rng-pci'/,
  )
})

test('the error for an unknown device property suggests a similar name', async () => {
  const error = await refusal({
    devices: [
      { driver: 'virtio-rng-pci', id: 'random', bus: 'pci.0', 'max-byte': 1 },
      { driver: 'pvpanic', iport: 5 },
    ],
  })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toMatch(
    /devices\[0\]\.max-byte: expected a property of 'virtio-rng-pci' in QEMU .*, such as 'max-bytes', got an unknown property/,
  )
  expect(error.message).toMatch(
    /devices\[1\]\.iport: expected a property of 'pvpanic' in QEMU .*, such as 'ioport'/,
  )
})
