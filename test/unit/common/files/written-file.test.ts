import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  chmodWrittenFile,
  openWrittenFile,
  openWrittenFileSync,
  readWrittenFile,
  streamWrittenFile,
} from '../../../../src/common/files/written-file.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

function makeFolder(): { dir: string; file: string } {
  const dir = join(ownTmpdir(), 'run')
  mkdirSync(dir)
  writeFileSync(join(dir, 'file'), 'content', { mode: 0o400 })
  return { dir, file: join(dir, 'file') }
}

test('a regular file written by QEMU can be read, copied and chmodded', async () => {
  const { file } = makeFolder()
  expect((await readWrittenFile(file, 7)).toString()).toBe('content')
  expect((await (await streamWrittenFile(file, 7)).toArray()).join('')).toBe('content')
  await chmodWrittenFile(file, 0o600)
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const descriptor = openWrittenFileSync(file)
  expect(readFileSync(descriptor, 'utf8')).toBe('content')
  closeSync(descriptor)
})

test.each([
  ['a link', (path: string, target: string) => symlinkSync(target, path)],
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ['a link to a device', (path: string) => symlinkSync('/dev/zero', path)],
  ['a folder', (path: string) => mkdirSync(path)],
])('%s in place of a file that QEMU writes is not opened', async (_, make) => {
  const { dir, file } = makeFolder()
  const path = join(dir, 'replaced')
  make(path, file)
  const named = path.replaceAll('.', '\\.')
  await expect(openWrittenFile(path)).rejects.toThrow(new RegExp(named))
  expect(() => openWrittenFileSync(path)).toThrow(new RegExp(named))
  await expect(chmodWrittenFile(path, 0o777)).rejects.toThrow()
  expect(statSync(file).mode & 0o777).toBe(0o400)
})

test.runIf(process.platform === 'linux')(
  'a link in place of the folder of a run is not entered',
  async () => {
    const { dir } = makeFolder()
    const link = join(ownTmpdir(), 'link')
    symlinkSync(dir, link)
    await expect(openWrittenFile(join(link, 'file'))).rejects.toThrow()
    expect(() => openWrittenFileSync(join(link, 'file'))).toThrow()
  },
)

test('a file that QEMU made larger than its limit is neither read nor copied', async () => {
  const { file } = makeFolder()
  truncateSync(file, 2 ** 40)
  await expect(readWrittenFile(file, 1024)).rejects.toThrow('has more than 1024 bytes')
  await expect(streamWrittenFile(file, 1024)).rejects.toThrow('has more than 1024 bytes')
})
