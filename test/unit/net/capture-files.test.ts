import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { OpenFolder } from '../../../src/common/files/open-folder.js'
import { CaptureFiles, captureLimit } from '../../../src/net/capture-files.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

test('captures stay below their limit: the oldest are removed and the newest full one is kept', async () => {
  const dir = ownTmpdir()
  const folder = OpenFolder.open(dir)
  const captures = new CaptureFiles(folder, 1000)
  const fill = (why: 'power-on' | 'full', bytes: number) => {
    const file = captures.next(why)
    expect(existsSync(file)).toBe(false)
    writeFileSync(file, Buffer.alloc(bytes))
    return basename(file)
  }
  expect(fill('power-on', 300)).toBe('network-1.pcap')
  expect(captures.isFull).toBe(false)
  expect(fill('power-on', 500)).toBe('network-2.pcap')
  expect(captures.isFull).toBe(true)
  expect(fill('full', 500)).toBe('network-2-2.pcap')
  expect(fill('full', 100)).toBe('network-2-3.pcap')
  await folder.close()
  expect(readdirSync(dir).sort()).toEqual(['network-2-2.pcap', 'network-2-3.pcap'])
  expect(captures.dropped).toBe(2)
})

test('captures use an eighth of `limits.disk`, at most 128 MiB', () => {
  expect(captureLimit(16 * 1024 ** 2)).toBe(2 * 1024 ** 2)
  expect(captureLimit(16 * 1024 ** 3)).toBe(128 * 1024 ** 2)
})
