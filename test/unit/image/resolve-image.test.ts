import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { RECIPES } from '../../../images/recipes.js'
import { createOverlay } from '../../../src/disk/overlay.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: 'pipe' })
}

/** A qcow2 image with a mebibyte of data. */
function makeQcow2(dir: string): string {
  const raw = join(dir, 'data.raw')
  const path = join(dir, 'disk.qcow2')
  writeFileSync(raw, Buffer.alloc(1 << 20, 0x5a))
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, path)
  return path
}

describe('resolveImage', () => {
  test('finds the format of a file by its content', async () => {
    const dir = ownTmpdir()
    for (const format of ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc']) {
      const path = join(dir, `disk-${format}.img`)
      qemuImg('create', '-q', '-f', format, path, '4M')
      expect((await resolveImage(path)).disk).toEqual({ path, format })
    }
  })

  test('names the nearest image when there is none of that name', async () => {
    const error = await failureOf(resolveImage('tinny'))
    expect(error.code).toBe('IMAGE_NOT_FOUND')
    const names = Object.keys(RECIPES).join(', ')
    expect(error.message).toBe(`There is no image tinny.
  Expected: the name of an image (${names}) or the path of a file
  Got:      nothing at ${join(process.cwd(), 'tinny')}
Fix: Did you mean 'tiny'? Give one of the images that have a name (${names}) or the path of a disk image.`)
  })

  test('refuses a directory, an empty file and what is no disk, each with what to do', async () => {
    const dir = ownTmpdir()
    const empty = join(dir, 'empty.img')
    writeFileSync(empty, '')
    const packed = join(dir, 'disk.img.zip')
    writeFileSync(packed, Buffer.from('504b030414000000', 'hex'))
    const page = join(dir, 'page.img')
    writeFileSync(page, '<!DOCTYPE html><title>404</title>')
    const folder = await failureOf(resolveImage(dir, { cacheDir: ownTmpdir() }))
    expect(folder.message).toBe(`The root file system ${dir} has nothing that could be started.
  Expected: /sbin/init, /etc/init, /bin/init or /bin/sh
  Got:      3 files, none of them there
Fix: For a disk image, give the path of the file itself. For a root file system, give the folder that has \`sbin\` and \`etc\` in it, or a tarball of what that has.`)
    expect((await failureOf(resolveImage(empty))).message).toContain('Got:      an empty file')
    expect((await failureOf(resolveImage(packed))).message).toContain(`with: unzip ${packed}`)
    expect((await failureOf(resolveImage(page))).message).toContain('Got:      an HTML page')
  })

  test('refuses a file of another format than named', async () => {
    const path = makeQcow2(ownTmpdir())
    const error = await failureOf(resolveImage({ path, format: 'vmdk' }))
    expect(error.message).toBe(`The image ${path} is of another format than the option says.
  Expected: vmdk
  Got:      qcow2
Fix: Say format: 'qcow2', or leave the option away: the format is found by the content.`)
  })

  test('refuses a qcow2 file that was cut off, in its header or in its data', async () => {
    const path = makeQcow2(ownTmpdir())
    const whole = readFileSync(path)
    expect((await resolveImage(path)).disk?.format).toBe('qcow2')
    for (const bytes of [60, 100, 70_000, 300_000, whole.length - 70_000]) {
      writeFileSync(path, whole.subarray(0, bytes))
      const error = await failureOf(resolveImage(path))
      expect([error.code, error.message.split('\n')[0]]).toEqual([
        'IMAGE_INVALID',
        `The image ${path} is truncated.`,
      ])
    }
  })

  test('refuses a raw disk that is shorter than its partitions', async () => {
    const path = join(ownTmpdir(), 'disk.img')
    const disk = Buffer.alloc(8192)
    disk.writeUInt16LE(0xaa55, 510)
    disk[450] = 0x83
    disk.writeUInt32LE(8, 454)
    disk.writeUInt32LE(8, 458)
    writeFileSync(path, disk)
    expect((await resolveImage(path)).disk?.format).toBe('raw')
    truncateSync(path, 6144)
    expect((await failureOf(resolveImage(path))).message).toContain('is truncated')
  })

  test('refuses an image whose backing file is gone', async () => {
    const dir = ownTmpdir()
    const base = makeQcow2(dir)
    const path = join(dir, 'overlay.qcow2')
    await createOverlay({ base: { path: base, format: 'qcow2' }, path })
    rmSync(base)
    const error = await failureOf(resolveImage(path))
    expect(error.message).toContain(`Expected: its backing file ${base}`)
  })

  test('says so when another process writes to the image', async () => {
    const path = makeQcow2(ownTmpdir())
    const writer = spawn('qemu-io', ['-f', 'qcow2', path], { stdio: 'pipe' })
    try {
      await once(writer.stdout, 'data')
      expect((await failureOf(resolveImage(path))).code).toBe('IMAGE_LOCKED')
    } finally {
      const gone = once(writer, 'exit')
      writer.kill('SIGKILL')
      await gone
    }
  })
})

describe('createOverlay', () => {
  test('leaves the base as it is', async () => {
    const dir = ownTmpdir()
    const base = makeQcow2(dir)
    const before = statSync(base)
    const path = join(dir, 'overlay.qcow2')
    await createOverlay({ base: { path: base, format: 'qcow2' }, path })
    expect(readFileSync(path).toString('latin1', 0, 3)).toBe('QFI')
    expect(statSync(base).mtimeMs).toBe(before.mtimeMs)
  })

  test('says that its directory is the trouble when it cannot be written', async () => {
    const dir = ownTmpdir()
    const base = { path: makeQcow2(dir), format: 'qcow2' as const }
    mkdirSync(join(dir, 'there'))
    const error = await failureOf(createOverlay({ base, path: join(dir, 'nowhere', 'overlay.qcow2') }))
    expect(error.code).toBe('WORKSPACE_FAILED')
  })
})
