import { readFileSync, writeFileSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { unpackFile } from '../../../src/archive/unpack.js'
import { findPacking } from '../../../src/disk/packing.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MIB = 1024 ** 2

async function unpack(from: string, to: string): Promise<void> {
  const packing = findPacking(readFileSync(from).subarray(0, 10))
  if (packing === undefined) throw new Error('it is not packed')
  await unpackFile({ from, to, packing })
}

test('an unpacked file is sparse', async () => {
  const folder = ownTmpdir()
  const [from, to] = [join(folder, 'a.gz'), join(folder, 'a')]
  const content = Buffer.alloc(MIB)
  content.write('end', MIB - 3)
  writeFileSync(from, gzipSync(content))
  await unpack(from, to)
  expect(readFileSync(to).equals(content)).toBe(true)
  await using file = await open(to)
  expect((await file.stat()).blocks * 512).toBeLessThan(MIB / 4)
})

test('unpacking stops before the disk is full', async () => {
  const folder = ownTmpdir()
  const small = join(folder, 'small')
  await mkdir(small)
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=300m', 'none', small])
  onTestFinished(async () => void (await execa('umount', ['-l', small])))
  const from = join(folder, 'bomb.gz')
  const piece = gzipSync(Buffer.alloc(16 * MIB, 'x'))
  // Concatenated packed files unpack as one: 320 MiB from 320 KiB.
  writeFileSync(from, Buffer.concat(Array.from({ length: 20 }, () => piece)))
  const error = await failureOf(unpack(from, join(small, 'bomb')))
  expect(error.code).toBe('NO_SPACE')
  expect(error.message).toMatch(
    /The file system of .*small does not have enough free space \(unpacking .*bomb\.gz\)\./,
  )
  expect(error.message).toMatch(
    /Expected: 256 MiB of free space to remain \((48|64)(\.\d)? MiB already written\)\n {2}Got: {6}\d+(\.\d)? MiB free/,
  )
})
