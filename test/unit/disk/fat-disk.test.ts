import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { buildFatDisk } from '../../../src/disk/fat-disk.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Reads a file of the disk's root folder by its long name, like a driver. */
function readFile(disk: Buffer, name: string): Buffer | undefined {
  const sector = disk.readUInt16LE(11)
  const cluster = (disk[13] as number) * sector
  const fatStart = disk.readUInt16LE(14) * sector
  const rootStart = fatStart + (disk[16] as number) * disk.readUInt16LE(22) * sector
  const dataStart = rootStart + disk.readUInt16LE(17) * 32
  let long = ''
  for (let at = rootStart; disk[at] !== 0; at += 32) {
    const entry = disk.subarray(at, at + 32)
    if (entry[11] === 0x0f) {
      const piece = Buffer.concat([entry.subarray(1, 11), entry.subarray(14, 26), entry.subarray(28, 32)])
      long = piece.toString('utf16le').replace(/\0.*$/s, '') + long
      continue
    }
    if (long === name) return follow(entry.readUInt16LE(26), entry.readUInt32LE(28))
    long = ''
  }
  return undefined

  function follow(first: number, bytes: number): Buffer {
    const pieces: Buffer[] = []
    for (let next = first; next !== 0 && next < 0xff8; ) {
      pieces.push(disk.subarray(dataStart + (next - 2) * cluster, dataStart + (next - 1) * cluster))
      const pair = disk.readUInt16LE(fatStart + Math.floor(next * 1.5))
      next = next % 2 === 0 ? pair & 0xfff : pair >> 4
    }
    return Buffer.concat(pieces).subarray(0, bytes)
  }
}

test.each([0, 1, 511, 512, 513, 40_000, 2_090_000, 3_000_000])(
  'a file of %i bytes and those next to it are read back',
  (size) => {
    const content = Buffer.from(Array.from({ length: size }, (_, index) => index % 251))
    const disk = buildFatDisk('CIDATA', {
      'meta-data': Buffer.from('{}'),
      'user-data': content,
      'network-config': Buffer.from('n'),
    })
    expect(readFile(disk, 'user-data')?.equals(content)).toBe(true)
    expect(readFile(disk, 'meta-data')?.toString()).toBe('{}')
    expect(readFile(disk, 'network-config')?.toString()).toBe('n')
  },
)

test('blkid recognizes the file system and its label', () => {
  const path = join(ownTmpdir(), 'disk.img')
  writeFileSync(path, buildFatDisk('CIDATA', { 'user-data': Buffer.from('x') }))
  const found = execFileSync('/sbin/blkid', ['-p', '-o', 'export', path], { encoding: 'utf8' })
  expect(found).toContain('\nLABEL=CIDATA\n')
  expect(found).toContain('\nTYPE=vfat\n')
})
