import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findBootProblem } from '../../../../src/disk/boot-code.js'
import { buildGpt } from '../../../../src/disk/gpt.js'
import type { BaseImage } from '../../../../src/spec/base-image.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { requireBootable } from '../../../../src/vm/machine/bootable.js'
import { buildBootSector, writeBootCd } from '../../../support/boot-sector.js'
import { qemuImg } from '../../../support/disk-images.js'
import { failureOf } from '../../../support/failure-of.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const MIB = 1024 ** 2

function disk(sector: Buffer): Buffer {
  return Buffer.concat([sector, Buffer.alloc(MIB - sector.length, 0x5a)])
}

function withTable({ code = false } = {}): Buffer {
  const sector = Buffer.alloc(512)
  if (code) sector.write('\xfa\xeb\xfe', 'latin1')
  sector.set([0x80, 0, 2, 0, 0x83, 0xff, 0xff, 0xff], 446)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

const image = (path: string, format: 'raw' | 'qcow2' = 'raw'): BaseImage => ({
  name: path,
  disk: { path, format },
  traits: {
    sshUser: 'root',
    credentials: 'smbios',
    hasAgent: false,
    mayHaveCloudInit: true,
    bootTimeFactor: 1,
  },
  defaults: { memoryBytes: 1024 * MIB, cpus: 1 },
})

const check = (path: string, options: VMOptions = {}, format?: 'raw' | 'qcow2') =>
  requireBootable(resolveSpec({ arch: 'x86_64', ...options }, image(path, format)) as never)

test.each([
  ['a boot sector without a partition table', buildBootSector('x')],
  ['a partition table with boot code', withTable({ code: true })],
])('a BIOS may be able to boot %s', (_, sector) => {
  expect(findBootProblem(disk(sector), 'bios')).toBeUndefined()
})

test.each([
  ['zeros', Buffer.alloc(MIB), 'a disk that begins with zeros'],
  ['data', Buffer.alloc(MIB, 1), 'a first sector without the signature of a boot sector (0xaa55)'],
  ['a partition table', disk(withTable()), 'a partition table without boot code'],
  ['a GPT', disk(buildGpt(2048, []).head), 'a disk with a GPT and no boot code'],
])('a BIOS cannot boot a disk with only %s', (_, head, why) => {
  expect(findBootProblem(head, 'bios')).toBe(why)
})

test('UEFI cannot boot a disk of zeros, and may be able to boot any other', () => {
  expect(findBootProblem(Buffer.alloc(MIB), 'uefi')).toBe('a disk that begins with zeros')
  for (const head of [disk(withTable()), disk(buildGpt(2048, []).head), Buffer.alloc(MIB, 1)])
    expect(findBootProblem(head, 'uefi')).toBeUndefined()
})

test('a disk without boot code is rejected before a start, in any format', async () => {
  const dir = ownTmpdir()
  const raw = join(dir, 'disk.raw')
  writeFileSync(raw, disk(withTable()))
  const path = join(dir, 'disk.qcow2')
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, path)
  const error = await failureOf(check(path, {}, 'qcow2'))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toBe(`The image ${path} cannot be booted by a BIOS: it has no boot loader.
  Expected: a disk with boot code
  Got:      a partition table without boot code
Fix: Specify \`kernel\` if this is a file system or a data disk, or set \`ready: 'none'\` to boot it anyway.`)
  writeFileSync(raw, disk(withTable({ code: true })))
  await check(raw)
})

test('a CD image used as a disk is rejected with a hint to use a CD drive', async () => {
  const path = await writeBootCd(join(ownTmpdir(), 'boot.iso'), 'hello')
  const error = await failureOf(check(path))
  expect(error.hint).toBe(`Insert it into a CD drive: \`image: false, cdrom: '${path}'\`.`)
})

test.each<[string, VMOptions]>([
  ['a kernel', { kernel: '/vmlinuz' }],
  ['a network boot', { network: { tftp: '/srv', bootfile: 'pxelinux.0' } }],
  ['another boot order', { boot: 'n' }],
  ['a boot menu', { bootMenu: true }],
  ['UEFI with a table of partitions', { firmware: 'uefi' }],
  ['firmware of your own', { firmware: { type: 'bios', file: 'other.bin' } }],
  ['options of QEMU', { qemuArgs: ['-bios', 'other.bin'] }],
  ['devices that can be plugged in', { hotplug: true }],
  ["`ready: 'none'`", { ready: 'none' }],
  ['a pattern that the firmware may print', { ready: /No bootable device/, ssh: false }],
  ['another architecture', { arch: 'ppc64' }],
])('a disk without boot code is accepted with %s', async (_, options) => {
  const path = join(ownTmpdir(), 'disk.raw')
  writeFileSync(path, disk(withTable()))
  await check(path, options)
})
