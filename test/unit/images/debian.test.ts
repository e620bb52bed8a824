import { execFileSync } from 'node:child_process'
import { readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { defineImage } from 'withvm'
import { buildArguments } from '../../../images/debian/bootstrap.js'
import { placeBootSector, placeCore } from '../../../images/debian/grub.js'
import { buildGpt, PARTITION_TYPES } from '../../../src/disk/gpt.js'
import { findPartitionsEnd } from '../../../src/disk/partition-table.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { ImageDefinition } from '../../../src/spec/image-definition.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const suite = { codename: 'bookworm', sources: [] }

test('mmdebstrap gets the packages, then the files, then each command', () => {
  const plan = { suite, arch: 'amd64', packages: ['dbus', 'udev'], files: {}, run: ["echo 'a b'", 'true'] }
  const host = {
    mode: 'unshare',
    target: '/cache/root.tar',
    sources: '/cache/host.sources',
    files: '/cache/it is/files.tar',
    lists: '/cache/it is/apt',
    settings: ['Acquire::http::Proxy "http://proxy:3128";'],
  } as const
  expect(buildArguments(plan, host)).toEqual([
    '--verbose',
    '--mode=unshare',
    '--variant=minbase',
    '--architectures=amd64',
    '--format=tar',
    '--skip=check/qemu',
    '--include=dbus,udev',
    '--aptopt=Acquire::http::Proxy "http://proxy:3128";',
    '--aptopt=Acquire::Languages "none"',
    '--dpkgopt=force-unsafe-io',
    ...['man', 'info', 'locale', 'doc'].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
    `--customize-hook=tar-in '/cache/it is/files.tar' /`,
    `--customize-hook=chroot "$1" /bin/sh -c 'echo '\\''a b'\\'''`,
    '--customize-hook=chroot "$1" /bin/sh -c true',
    `--customize-hook=copy-out /var/lib/apt/lists '/cache/it is/apt'`,
    'bookworm',
    '/cache/root.tar',
    '/cache/host.sources',
  ])
})

test('an unknown release is reported with the output of mmdebstrap, and leaves nothing', async () => {
  const cacheDir = ownTmpdir()
  const definition = new ImageDefinition({ name: 'nosuch', suite: 'nosuch' })
  const error = await failureOf(resolveImage(definition, { cacheDir, onProgress: () => {} }))
  expect(error.code).toBe('IMAGE_BUILD_FAILED')
  expect(error.message).toMatch(
    /^Installing nosuch with \d+ packages failed: mmdebstrap exited with code \d+\./,
  )
  expect(error.message).toContain('Release')
  expect(
    readdirSync(join(cacheDir, 'images')).filter((name) => !['.users', '.locks'].includes(name)),
  ).toEqual([])
}, 120_000)

test('a missing host file is reported', async () => {
  const { source } = defineImage({ name: 'web', files: { '/etc/motd': { path: '/nowhere/motd' } } })
  const error = await failureOf(resolveImage(source as ImageDefinition, { cacheDir: ownTmpdir() }))
  expect(error.message).toBe(`defineImage(): the host file for /etc/motd of the image web cannot be read.
  Expected: a readable file
  Got:      ENOENT: no such file or directory, stat '/nowhere/motd'
Fix: Check the path; relative paths start at the working directory.`)
})

describe('the disk', () => {
  const partitions = [
    { number: 1, type: PARTITION_TYPES.linuxRootX64, label: 'root', firstSector: 4096, lastSector: 8191 },
    { number: 15, type: PARTITION_TYPES.efiSystem, label: 'esp', firstSector: 2048, lastSector: 4095 },
  ]

  test('the boot disk of debian has a complete partition table and its backup', () => {
    const { head, tail } = buildGpt(16_384, partitions)
    const header = Buffer.from(head.subarray(512, 512 + 92))
    const table = head.subarray(1024)
    expect(header.readUInt32LE(88)).toBe(crc32(table))
    const sum = header.readUInt32LE(16)
    header.writeUInt32LE(0, 16)
    expect(sum).toBe(crc32(header))
    expect(tail.subarray(0, table.length).equals(table)).toBe(true)
    expect(tail.toString('latin1', table.length, table.length + 8)).toBe('EFI PART')
    expect(findPartitionsEnd(head)).toBe((16_384 - 33) * 512)
  })

  test('partx reads the partition table of the boot disk of debian', () => {
    const file = join(ownTmpdir(), 'disk.raw')
    writeFileSync(file, '')
    truncateSync(file, 16_384 * 512)
    const { head } = buildGpt(16_384, partitions)
    writeFileSync(file, head, { flag: 'r+' })
    const listing = execFileSync('partx', ['--raw', '--noheadings', '-o', 'NR,START,END,NAME', file])
    expect(listing.toString().trim().split('\n')).toEqual(['1 4096 8191 root', '15 2048 4095 esp'])
  })

  test('the boot sector of debian contains the sector of the GRUB core', () => {
    const sector = placeBootSector(Buffer.alloc(512, 0xaa), 2048)
    expect(sector.length).toBe(440)
    expect(sector.readBigUInt64LE(0x5c)).toBe(2048n)
    expect(placeCore(Buffer.alloc(1024), 2048).readBigUInt64LE(500)).toBe(2049n)
  })
})
