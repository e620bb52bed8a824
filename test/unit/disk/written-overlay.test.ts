import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { createOverlay } from '../../../src/disk/overlay.js'
import { copyWrittenFile, copyWrittenOverlay, readOverlayBase } from '../../../src/disk/written-overlay.js'
import { makeDisk, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

async function makeOverlay() {
  const dir = ownTmpdir()
  const base = { path: makeDisk(dir), format: 'qcow2' } as const
  const from = join(dir, 'overlay.qcow2')
  await createOverlay({ base, path: from })
  return { dir, base, from, to: join(dir, 'copy.qcow2') }
}

test("an overlay with the guest's writes is copied with its checkpoints", async () => {
  const { base, from, to } = await makeOverlay()
  execFileSync('qemu-io', ['-c', 'write 0 64k', from], { stdio: 'pipe' })
  qemuImg('snapshot', '-c', 'checkpoint', from)
  expect(await copyWrittenOverlay({ from, to, base })).toEqual({ virtualBytes: 4 << 20 })
  expect(readFileSync(to).equals(readFileSync(from))).toBe(true)
  expect(await readOverlayBase(to)).toEqual(base)
})

test.each([
  ['another backing file', ['rebase', '-u', '-F', 'raw', '-b', '/etc/shadow'], 'Got:      /etc/shadow (raw)'],
  ['another format of its base', ['rebase', '-u', '-F', 'raw', '-b', 'BASE'], 'disk.qcow2 (raw)'],
  ['no backing file', ['rebase', '-u', '-b', ''], 'Got:      none'],
])('an overlay to which QEMU added %s is not used', async (_, command, got) => {
  const { base, from, to } = await makeOverlay()
  qemuImg(...command.map((word) => (word === 'BASE' ? base.path : word)), from)
  const error = await failureOf(copyWrittenOverlay({ from, to, base }))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(error.message).toContain(got)
  expect(existsSync(to)).toBe(false)
})

test('an overlay to which QEMU added an external data file is not used', async () => {
  const { base, from, to } = await makeOverlay()
  const content = readFileSync(from)
  content.writeBigUInt64BE(4n, 72)
  writeFileSync(from, content)
  const error = await failureOf(copyWrittenOverlay({ from, to, base }))
  expect(error.message).toContain('Got:      features 0x4')
})

test('a symbolic link or a FIFO in place of a file that QEMU writes is neither followed nor opened', async () => {
  const { base, from, to } = await makeOverlay()
  unlinkSync(from)
  symlinkSync('/etc/passwd', from)
  expect((await failureOf(copyWrittenFile(from, to))).message).toContain('Got:      ELOOP')
  unlinkSync(from)
  execFileSync('mkfifo', [from])
  expect((await failureOf(copyWrittenOverlay({ from, to, base }))).code).toBe('IMAGE_INVALID')
  expect(existsSync(to)).toBe(false)
})

test('a symbolic link in place of the folder of a file that QEMU writes is not followed', async () => {
  const { dir, from, to } = await makeOverlay()
  const link = join(ownTmpdir(), 'run')
  symlinkSync(dir, link)
  const error = await failureOf(copyWrittenFile(join(link, basename(from)), to))
  expect(error.code).toBe('IMAGE_INVALID')
  expect(existsSync(to)).toBe(false)
})

test('an overlay can be created on a base that does not exist yet', async () => {
  const dir = ownTmpdir()
  const base = { path: join(dir, 'later', 'disk.qcow2'), format: 'qcow2' } as const
  const path = join(dir, 'overlay.qcow2')
  await createOverlay({ base, path, virtualBytes: 8 << 20 })
  expect(await readOverlayBase(path)).toEqual(base)
})
