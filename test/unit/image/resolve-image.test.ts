import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defineImage } from 'withvm'
import { RECIPES } from '../../../images/recipes.js'
import { createOverlay } from '../../../src/disk/overlay.js'
import type { StartLayers } from '../../../src/image/defined-image.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import type { BaseImage } from '../../../src/spec/base-image.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

type BaseDisk = NonNullable<BaseImage['disk']>

function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: 'pipe' })
}

/** Makes a qcow2 image with a mebibyte of data. */
function makeQcow2(dir: string): string {
  const raw = join(dir, 'data.raw')
  const path = join(dir, 'disk.qcow2')
  writeFileSync(raw, Buffer.alloc(1 << 20, 0x5a))
  qemuImg('convert', '-f', 'raw', '-O', 'qcow2', raw, path)
  return path
}

describe('resolveImage', () => {
  test('the format of an image is detected from its content', async () => {
    const dir = ownTmpdir()
    for (const format of ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc']) {
      const path = join(dir, `disk-${format}.img`)
      qemuImg('create', '-q', '-f', format, path, '4M')
      expect((await resolveImage(path)).disk).toEqual({ path, format })
    }
  })

  test('the error for an unknown image suggests the nearest name', async () => {
    const error = await failureOf(resolveImage('tinny'))
    expect(error.code).toBe('IMAGE_NOT_FOUND')
    const names = Object.keys(RECIPES).join(', ')
    expect(error.message).toBe(`The image tinny was not found.
  Expected: a built-in image (${names}) or the path of a file
  Got:      nothing at ${join(process.cwd(), 'tinny')}
Fix: Did you mean 'tiny'? Use a built-in image (${names}) or the path of a disk image.`)
  })

  test('a directory, an empty file and a file that is not a disk are rejected, each with a fix', async () => {
    const dir = ownTmpdir()
    const empty = join(dir, 'empty.img')
    writeFileSync(empty, '')
    const packed = join(dir, 'disk.img.zip')
    writeFileSync(packed, Buffer.from('504b030414000000', 'hex'))
    const page = join(dir, 'page.img')
    writeFileSync(page, '<!DOCTYPE html><title>404</title>')
    const folder = await failureOf(resolveImage(dir, { cacheDir: ownTmpdir() }))
    expect(folder.message).toBe(`The root file system ${dir} contains no init program.
  Expected: /sbin/init, /etc/init, /bin/init or /bin/sh
  Got:      3 files, none of them at these paths
Fix: Specify the folder that contains \`sbin\` and \`etc\`, or a tarball of its content. For a disk image, specify the path of the file itself.`)
    expect((await failureOf(resolveImage(empty))).message).toContain('Got:      an empty file')
    expect((await failureOf(resolveImage(packed))).message).toContain(`unzip ${packed}`)
    expect((await failureOf(resolveImage(page))).message).toContain('Got:      an HTML page')
  })

  test('an image whose format differs from `format` is rejected', async () => {
    const path = makeQcow2(ownTmpdir())
    const error = await failureOf(resolveImage({ path, format: 'vmdk' }))
    expect(error.message).toBe(`The image ${path} does not have the specified format.
  Expected: vmdk
  Got:      qcow2
Fix: Set \`format: 'qcow2'\`, or remove the option to detect the format from the content.`)
  })

  test('a qcow2 image truncated in its header or data is rejected', async () => {
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

  test('a raw disk that is smaller than its partitions is rejected', async () => {
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

  test('an image whose backing file is missing is rejected', async () => {
    const dir = ownTmpdir()
    const base = makeQcow2(dir)
    const path = join(dir, 'overlay.qcow2')
    await createOverlay({ base: { path: base, format: 'qcow2' }, path })
    rmSync(base)
    const error = await failureOf(resolveImage(path))
    expect(error.message).toContain(`Expected: its backing file ${base}`)
  })

  describe('a layer is built again when its base image is in another place after', () => {
    const build = async ({ dir }: { dir: string }) => ({ disk: basename(makeQcow2(dir)) })
    const base = defineImage({ name: 'base', build })
    const layered = defineImage({ name: 'layered', from: base, run: ['true'] })
    const startLayers: StartLayers = () => ({
      build: async (_, { base: { disk }, to }) => createOverlay({ base: disk as BaseDisk, path: to }),
      release: async () => {},
    })

    /** Opens the layer, and the files below it, as each start of a guest does. */
    async function open(caches: { cacheDir: string; sharedCacheDir?: string }) {
      const { disk } = await resolveImage(layered.source, { ...caches, startLayers })
      await createOverlay({ base: disk as BaseDisk, path: join(ownTmpdir(), 'overlay.qcow2') })
      return disk?.path
    }

    test('the cache was moved', async () => {
      const [before, after] = [join(ownTmpdir(), 'cache'), join(ownTmpdir(), 'cache')]
      const first = await open({ cacheDir: before })
      expect(await open({ cacheDir: before })).toBe(first)
      renameSync(before, after)
      expect(await open({ cacheDir: after })).toMatch(/cache\/images\/layered-/)
    })

    test('the shared cache of the base was moved', async () => {
      const [before, after, cacheDir] = [
        join(ownTmpdir(), 'shared'),
        join(ownTmpdir(), 'shared'),
        ownTmpdir(),
      ]
      await resolveImage(base.source, { cacheDir: before })
      const first = await open({ cacheDir, sharedCacheDir: before })
      expect(first?.startsWith(cacheDir)).toBe(true)
      renameSync(before, after)
      await open({ cacheDir, sharedCacheDir: after })
    })
  })

  test('an image that another process has locked is reported as locked', async () => {
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
  test('`createOverlay()` does not modify the base image', async () => {
    const dir = ownTmpdir()
    const base = makeQcow2(dir)
    const before = statSync(base)
    const path = join(dir, 'overlay.qcow2')
    await createOverlay({ base: { path: base, format: 'qcow2' }, path })
    expect(readFileSync(path).toString('latin1', 0, 3)).toBe('QFI')
    expect(statSync(base).mtimeMs).toBe(before.mtimeMs)
  })

  test('`createOverlay()` reports an unwritable directory as the cause', async () => {
    const dir = ownTmpdir()
    const base = { path: makeQcow2(dir), format: 'qcow2' as const }
    mkdirSync(join(dir, 'there'))
    const error = await failureOf(createOverlay({ base, path: join(dir, 'nowhere', 'overlay.qcow2') }))
    expect(error.code).toBe('WORKSPACE_FAILED')
  })
})
