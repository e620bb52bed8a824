import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { readSmallFile, tryReadSmallFile } from '../../../../src/common/files/read-small-file.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

test.each([0, 1, 4095, 4096, 4097, 8192, 100_000])(
  'a file of %i bytes is read within its limit',
  async (bytes) => {
    const file = join(ownTmpdir(), 'file')
    writeFileSync(file, 'x'.repeat(bytes))
    expect(await readSmallFile(file, bytes)).toBe('x'.repeat(bytes))
    if (bytes > 0) expect(await readSmallFile(file, bytes - 1)).toBeUndefined()
  },
)

test('the buffer for a small file is small, whatever the limit', async () => {
  const file = join(ownTmpdir(), 'file')
  writeFileSync(file, 'text')
  const alloc = vi.spyOn(Buffer, 'alloc')
  onTestFinished(() => alloc.mockRestore())
  expect(await readSmallFile(file, 512 * 1024)).toBe('text')
  expect(Math.max(...alloc.mock.calls.map(([bytes]) => bytes))).toBeLessThanOrEqual(4096)
})

test('a missing file is distinguished from an unreadable one', async () => {
  const folder = ownTmpdir()
  expect(await tryReadSmallFile(join(folder, 'none'), 64)).toBeUndefined()
  symlinkSync('none', join(folder, 'link'))
  expect(await tryReadSmallFile(join(folder, 'link'), 64)).toBeUndefined()
  await expect(tryReadSmallFile(join(folder, 'x'.repeat(300)), 64)).rejects.toThrow('ENAMETOOLONG')
  expect(await readSmallFile(join(folder, 'x'.repeat(300)), 64)).toBeUndefined()
})
