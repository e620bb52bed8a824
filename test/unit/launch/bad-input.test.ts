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

/** Launches with options that cannot work; nothing may be left behind. */
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

test('no QEMU at all', async () => {
  const error = await refusal({ qemu: '/nowhere/qemu-system-x86_64' })
  expect(error.code).toBe('QEMU_NOT_FOUND')
  expect(error.kind).toBe('infrastructure')
})

test('a QEMU that is too old is told the least version that is tested', async () => {
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

test('an image that is not there, with the name that was meant', async () => {
  const error = await refusal({ image: 'tiney' })
  expect(error.code).toBe('IMAGE_NOT_FOUND')
  expect(error.hint).toContain("'tiny'")
})

test('an empty image, a truncated one, and a folder', async () => {
  const folder = ownTmpdir()
  const empty = join(folder, 'empty.qcow2')
  writeFileSync(empty, '')
  expect(await refusal({ image: empty })).toMatchObject({ code: 'IMAGE_INVALID' })
  const cut = await qcow2(join(folder, 'cut.qcow2'))
  truncateSync(cut, 100)
  expect(await refusal({ image: cut })).toMatchObject({ code: 'IMAGE_INVALID' })
  expect(await refusal({ image: folder })).toMatchObject({ code: 'IMAGE_INVALID' })
})

test('an image that may not be read', async () => {
  const folder = ownTmpdir()
  chmodSync(folder, 0o777)
  const path = await qcow2(join(folder, 'secret.qcow2'))
  chmodSync(path, 0)
  // Root may read everything, so the test goes on as somebody else.
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

test('an image of another format than named', async () => {
  const path = await qcow2(join(ownTmpdir(), 'disk.img'))
  const error = await refusal({ image: { path, format: 'vmdk' } })
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('vmdk')
  expect(error.message).toContain('qcow2')
})

test('an image that another process writes to', async () => {
  const path = await qcow2(join(ownTmpdir(), 'busy.qcow2'))
  const writer = execa('qemu-io', [path], { stdin: 'pipe', reject: false })
  onTestFinished(async () => {
    writer.kill()
    await writer
  })
  writer.stdin.write('write 0 4k\n')
  await new Promise((resolve) => writer.stdout.once('data', resolve))
  // What its writer has not flushed yet looks cut off.
  truncateSync(path, 128 * 1024)
  const error = await refusal({ image: path })
  expect(error.code).toBe('IMAGE_LOCKED')
})

test('a kernel that is certainly none is refused before QEMU runs', async () => {
  const kernel = join(ownTmpdir(), 'vmlinuz.gz')
  writeFileSync(kernel, gzipSync('a kernel'))
  const packed = await refusal({ kernel, arch: 'x86_64' })
  expect(packed.code).toBe('INVALID_OPTIONS')
  expect(packed.message).toContain(
    `kernel: expected a kernel for x86_64 guests, got "${kernel}", which is packed by gzip: unpack it first`,
  )
  const fifo = join(ownTmpdir(), 'fifo')
  await execa('mkfifo', [fifo])
  const message = `got "${fifo}", which is no regular file`
  expect((await refusal({ kernel: fifo, arch: 'x86_64' })).message).toContain(message)
})

test('a disk without boot code is refused before QEMU runs', async () => {
  const path = join(ownTmpdir(), 'data.raw')
  writeFileSync(path, Buffer.alloc(1024 * 1024))
  const error = await refusal({ image: path, arch: 'x86_64', ssh: undefined, ready: 'ssh' })
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain('cannot be booted by a BIOS: it has no boot loader.')
})

test('a kernel that is none, and one that is not there', async () => {
  const folder = ownTmpdir()
  const kernel = join(folder, 'vmlinuz')
  writeFileSync(kernel, 'not a kernel\n'.repeat(1000))
  const wrong = await refusal({ kernel })
  expect(wrong.code).toBe('IMAGE_INVALID')
  expect(wrong.message).toContain('kernel')
  const missing = await refusal({ kernel: join(folder, 'gone'), initrd: folder })
  expect(missing.code).toBe('INVALID_OPTIONS')
  expect(missing.message).toContain(
    `kernel: expected a file that can be read, got "${join(folder, 'gone')}", which does not exist`,
  )
  expect(missing.message).toContain(
    `initrd: expected a file that can be read, got "${folder}", which is a folder`,
  )
})

test('an unknown option, machine, CPU, card and an impossible memory come in one error', async () => {
  const options = {
    memroy: 1,
    memory: '-1',
    machine: 'q53',
    cpu: 'qemu46',
    network: { model: 'e1001' },
  } as VMOptions
  const error = await refusal(options)
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message.replaceAll(/QEMU \d\S+( \(.*?\))? has/g, 'QEMU VERSION has')).toMatchInlineSnapshot(`
    "withVM(): 5 options are wrong, nothing was booted.
      - memory: expected an amount of memory such as '512M', '2G', or a number of MiB above 0, got "-1"
      - memroy: expected 'memory', got an option that does not exist
      - machine: expected a machine type that QEMU VERSION has, such as 'q35', got "q53"
      - cpu: expected a CPU model that QEMU VERSION has, such as 'qemu64', 'qemu32', got "qemu46"
      - network.model: expected a network card that QEMU VERSION has, such as 'e1000', got "e1001"
    Fix: change what is listed above. docs/options.md has every option."
  `)
})

test('a TFTP folder that is not there', async () => {
  const error = await refusal({ network: { tftp: '/nowhere/at/all' } })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toContain('network.tftp')
})

test('arguments for QEMU that it does not take', async () => {
  const error = await refusal({ image: 'tiny', qemuArgs: ['-no-such-thing'] })
  expect(error.code).toBe('QEMU_FAILED')
  expect(error.message).toContain('invalid option')
})

test('a private key that is none, without a word of it', async () => {
  const error = await refusal({ ssh: { privateKey: 'my secret' } })
  expect(error.message).toBe(`withVM(): an option is wrong, nothing was booted.
  - ssh.privateKey: expected a private key (OpenSSH or PEM), with 'ssh.passphrase' beside it if it is encrypted, got one that cannot be used: Unsupported key format
Fix: change what is listed above. docs/options.md has every option.`)
})

test('data for cloud-init in an image that has none', async () => {
  const error = await refusal({ image: 'tiny', cloudInit: { userData: { packages: ['a'] } } })
  expect(error.message).toBe(`withVM(): an option is wrong, nothing was booted.
  - cloudInit: expected a disk image with cloud-init in it, or no 'cloudInit': in this one nothing could read it, got it for tiny
Fix: change what is listed above. docs/options.md has every option.`)
})

test('a private key in a file that is not there, or that is encrypted', async () => {
  expect((await refusal({ ssh: { privateKey: { file: '/no/such' } } })).message).toContain(
    '  - ssh.privateKey.file: expected a file that can be read, got "/no/such", which does not exist\n',
  )
  const file = join(ownTmpdir(), 'key')
  const encryption = { cipher: 'aes256-ctr', passphrase: 'open sesame', rounds: 4 }
  writeFileSync(file, ssh2.utils.generateKeyPairSync('ed25519', encryption).private)
  expect((await refusal({ ssh: { privateKey: { file } } })).message).toContain(
    "expected a private key (OpenSSH or PEM), with 'ssh.passphrase' beside it if it is encrypted, got",
  )
  expect((await refusal({ ssh: { privateKey: { file }, passphrase: 'wrong' } })).message).toContain(
    "expected a private key (OpenSSH or PEM) that 'ssh.passphrase' opens, got",
  )
})

test('an address that is not of this host', async () => {
  const foreign = await refusal({ image: 'tiny', hostfwd: [{ guest: 80, bind: '192.0.2.1' }] })
  expect(foreign.code).toBe('PORT_UNAVAILABLE')
  expect(foreign.message).toContain("No free port of this host could be had on 192.0.2.1 for the guest's tcp")
  const none = await refusal({ hostfwd: [{ guest: 80, bind: '999.1.1.1' }] })
  expect(none.message).toContain('hostfwd[0].bind: expected an IPv4 address of this host')
})

test('SSH to nothing: ports that are refused before a start', async () => {
  const error = await refusal({ hostfwd: [{ guest: 0 }] })
  expect(error.message).toContain('hostfwd[0].guest: expected a port, 1 to 65535, got 0')
})

test('two guests may read one image at the same time', async () => {
  const folder = ownTmpdir()
  const path = await qcow2(join(folder, 'shared.qcow2'))
  const tmpdir = join(folder, 'runs')
  mkdirSync(tmpdir)
  const options = { image: path, ssh: false, ready: 'none', tmpdir } as const
  await using one = await launchVM(options)
  await using two = await launchVM(options)
  expect([one.isRunning, two.isRunning]).toEqual([true, true])
})

test('a device that QEMU does not have', async () => {
  const error = await refusal({ devices: [{ driver: 'virtio-rng-pcl' }] })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toMatch(
    /devices\[0\]\.driver: expected a device that QEMU .* has, such as 'virtio-rng-pci'/,
  )
})

test('a property that a device does not have', async () => {
  const error = await refusal({
    devices: [
      { driver: 'virtio-rng-pci', id: 'random', bus: 'pci.0', 'max-byte': 1 },
      { driver: 'pvpanic', iport: 5 },
    ],
  })
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toMatch(
    /devices\[0\]\.max-byte: expected a property of 'virtio-rng-pci' of QEMU .*, such as 'max-bytes', got a property that it does not have/,
  )
  expect(error.message).toMatch(
    /devices\[1\]\.iport: expected a property of 'pvpanic' of QEMU .*, such as 'ioport'/,
  )
})
