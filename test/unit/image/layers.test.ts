import { execFileSync } from 'node:child_process'
import { readdirSync, utimesSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { defineImage, image } from 'withvm'
import { describeOrigin, readImageHistory } from '../../../src/cache/image-history.js'
import { listImages, pruneImages, removeImages } from '../../../src/cache/image-store.js'
import { createOverlay } from '../../../src/disk/overlay.js'
import { findBase, planLayers, type StartLayers } from '../../../src/image/defined-image.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import type { BaseImage } from '../../../src/spec/base-image.js'
import type { ImageDefinition } from '../../../src/spec/image-definition.js'
import { chrootEnvironment } from '../../../src/vm/boot/disk-layer.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

type Options = Parameters<typeof defineImage>[0]

const definitionOf = (options: Options) => defineImage(options).source as ImageDefinition

const steps = {
  files: { '/etc/motd': 'hello\n', '/etc/issue': 'x' },
  run: ['make  install', 'make\ncheck'],
  prepare: () => {},
}

describe('the plan', () => {
  async function plan(options: Options, root: BaseImage['root']) {
    const definition = definitionOf(options)
    const layers = await planLayers(definition, findBase(definition), root)
    return layers.map(({ place, label, content }) => [place, label, content])
  }

  test('an image of debian has a layer of files, one for each command, and one for `prepare`', async () => {
    expect(await plan({ name: 'web', packages: ['socat'], ...steps }, { partition: 1 })).toEqual([
      ['disk', 'files', 'files /etc/motd, /etc/issue'],
      ['disk', 'run', 'run make install'],
      ['disk', 'run', 'run make check'],
      ['guest', 'prepare', 'prepare'],
    ])
  })

  test('the commands of an image of another recipe share one guest', async () => {
    expect(await plan({ name: 'web', from: 'tiny', ...steps }, {})).toEqual([
      ['disk', 'files', 'files /etc/motd, /etc/issue'],
      ['guest', 'run', 'run make install, make check'],
      ['guest', 'prepare', 'prepare'],
    ])
  })

  test('files and commands of an image with an unknown root file system share one guest', async () => {
    const { files, run, prepare } = steps
    expect(await plan({ name: 'web', from: './a.qcow2', files, run, prepare }, undefined)).toEqual([
      ['guest', 'files and run', 'files /etc/motd, /etc/issue; run make install, make check'],
      ['guest', 'prepare', 'prepare'],
    ])
    expect(await plan({ name: 'web', from: './a.qcow2', files, prepare }, undefined)).toEqual([
      ['guest', 'files and prepare', 'files /etc/motd, /etc/issue; prepare'],
    ])
  })

  test('steps of a prepared image come before files', async () => {
    const from = image('tiny').prepare(() => {})
    expect(await plan({ name: 'web', from, files: steps.files }, {})).toEqual([
      ['guest', 'prepared steps', 'prepared steps'],
      ['disk', 'files', 'files /etc/motd, /etc/issue'],
    ])
  })

  test('an image has at most 12 layers of commands', async () => {
    const run = Array.from({ length: 20 }, (_, index) => `step-${index}`)
    const layers = await plan({ name: 'web', run }, { partition: 1 })
    expect(layers).toHaveLength(12)
    expect(layers.at(-1)?.[2]).toMatch(/^run step-11, .*, step-19$/)
  })

  test('definitions with the same packages have the same base', async () => {
    const inputsOf = async (options: Options) => {
      const { source, content } = findBase(definitionOf(options))
      return typeof source === 'object' && 'readInputs' in source
        ? [source.name, content, await source.readInputs('x86_64')]
        : source
    }
    const suite = 'bookworm'
    expect(await inputsOf({ name: 'a', suite, packages: ['socat', 'curl'], files: steps.files })).toEqual(
      await inputsOf({ name: 'b', suite, packages: ['curl', 'socat'], run: ['true'] }),
    )
    expect(await inputsOf({ name: 'c', files: steps.files })).toBe('debian')
  })
})

test('commands with chroot get the proxies of the host, and no other variables', () => {
  const { PATH, ...rest } = chrootEnvironment({
    PATH: '/home/anna/bin',
    TOKEN: 'secret',
    http_proxy: 'http://anna:secret@127.0.0.1:3128',
    HTTPS_PROXY: 'localhost:3128/',
    ftp_proxy: 'http://proxy.localhost:3128',
    no_proxy: 'localhost',
  })
  expect(PATH).toMatch(/^\/usr\/local\/sbin:/)
  expect(rest).toEqual({
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    INITRD: 'No',
    http_proxy: 'http://anna:secret@10.0.2.2:3128',
    HTTPS_PROXY: '10.0.2.2:3128/',
    ftp_proxy: 'http://proxy.localhost:3128',
    no_proxy: 'localhost',
  })
})

describe('layers in the cache', () => {
  /** Writes the paths of the files and the commands of the layer to its disk. */
  const startLayers: StartLayers = () => ({
    async build({ files, run }, { base: { disk }, to }) {
      if (run.includes('false')) throw new Error('false')
      await createOverlay({ base: disk as NonNullable<BaseImage['disk']>, path: to })
      const pattern = Object.keys(files).length + 1
      execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -q -P ${pattern} 0 64k`, to])
    },
    release: async () => {},
  })

  const build = async ({ dir }: { dir: string }) => {
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(dir, 'disk.qcow2'), '16M'])
    return { disk: 'disk.qcow2' }
  }

  async function open(options: Partial<Options>, cacheDir: string) {
    const reports: string[] = []
    const { source } = defineImage({ name: 'web', from: image(base(cacheDir)), ...options } as Options)
    const opened = await resolveImage(source, {
      cacheDir,
      startLayers,
      onProgress: (step) => void reports.push(step),
    })
    return { reports, entry: basename(dirname(opened.disk?.path as string)) }
  }
  const base = (cacheDir: string) => join(dirname(cacheDir), 'base.qcow2')

  /** Creates an empty cache, and the base image next to it. */
  function ownImages() {
    const dir = ownTmpdir()
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', join(dir, 'base.qcow2'), '16M'])
    return {
      cacheDir: join(dir, 'cache'),
      caches: { cacheDir: join(dir, 'cache'), sharedCacheDir: undefined },
    }
  }

  const listNames = async (cacheDir: string) =>
    (await listImages({ cacheDir, sharedCacheDir: undefined })).map(({ name }) => name).sort()

  test('only changed layers, and the layers on top of them, are built again', async () => {
    const { cacheDir } = ownImages()
    const first = await open({ run: ['true'], prepare: () => 1 }, cacheDir)
    const again = await open({ run: ['true'], prepare: () => 1 }, cacheDir)
    expect(again).toEqual({
      reports: ['layer 1 of 2 (run): cached', 'layer 2 of 2 (prepare): cached'],
      entry: first.entry,
    })
    const changed = await open({ run: ['true'], prepare: () => 2 }, cacheDir)
    expect(changed.reports).toEqual(['layer 1 of 2 (run): cached'])
    expect((await open({ run: ['id'], prepare: () => 2 }, cacheDir)).reports).toEqual([])
  })

  test('a failed layer keeps the layers below', async () => {
    const { cacheDir } = ownImages()
    const layered = defineImage({ name: 'lower', from: image(base(cacheDir)), files: { '/a': '1' } })
    const failing = { name: 'upper', from: layered, run: ['false'] }
    await expect(open(failing, cacheDir)).rejects.toThrow('false')
    expect(await listNames(cacheDir)).toEqual([expect.stringMatching(/^lower-/)])
    expect((await open({ ...failing, run: ['true'] }, cacheDir)).reports).toEqual([
      'base image: layer 1 of 1 (files): cached',
    ])
  })

  test('`withvm images history` shows the layers of an image, and the image below', async () => {
    const { cacheDir, caches } = ownImages()
    const lower = defineImage({ name: 'lower', build, files: { '/a': '1' } })
    const { entry } = await open({ name: 'upper', from: lower, run: ['true'], prepare: () => 1 }, cacheDir)
    const history = await readImageHistory('upper', caches)
    expect(history.map(({ name, content }) => [name.replace(/-[0-9a-f]{16}$/, ''), content])).toEqual([
      ['upper', 'prepare'],
      ['upper', 'run true'],
      ['lower', 'files /a'],
      ['lower', 'lower'],
    ])
    expect(history[0]).toMatchObject({ name: entry, buildMs: expect.any(Number) })
    expect(Date.parse(history[0]?.builtAt as string)).toBeGreaterThan(Date.now() - 60_000)
    for (const { bytes } of history) expect(bytes).toBeGreaterThan(64 * 1024)
    const images = await listImages(caches)
    expect(images.map((image) => describeOrigin(image, images)).sort()).toEqual([
      'lower',
      'lower',
      'upper',
      'upper, layer run true',
    ])
    const { message } = await failureOf(readImageHistory('uper', caches))
    expect(message).toContain('Expected: upper\n')
    const shared = { cacheDir: ownTmpdir(), sharedCacheDir: cacheDir }
    expect(await readImageHistory('upper', shared)).toEqual(history)
  })

  test('the history ends with the file of an image that is not in the cache', async () => {
    const { cacheDir, caches } = ownImages()
    const { entry } = await open({ run: ['true'] }, cacheDir)
    expect((await readImageHistory(entry, caches)).map(({ name }) => name)).toEqual([entry, base(cacheDir)])
  })

  /** Marks images as used at a time, and by no running process. */
  function setUsed(cacheDir: string, names: readonly string[], time: Date) {
    for (const name of names) {
      const users = join(cacheDir, 'images', '.users', name)
      for (const marker of readdirSync(users)) execFileSync('rm', [join(users, marker)])
      utimesSync(users, time, time)
    }
  }

  test('eviction removes layers before the images below them', async () => {
    const { cacheDir, caches } = ownImages()
    await open({ run: ['true'], prepare: () => 1 }, cacheDir)
    const names = await listNames(cacheDir)
    const history = await readImageHistory('web', caches)
    const [upper, lower] = history.map(({ name }) => name) as [string, string]
    setUsed(cacheDir, names, new Date(Date.now() - 60_000))
    // The lower layer is the least recently used, as after each start.
    setUsed(cacheDir, [lower], new Date(Date.now() - 120_000))
    const total = history.slice(0, 2).reduce((sum, { bytes }) => sum + bytes, 0)
    expect(await pruneImages(caches, { maxBytes: total - 1 })).toEqual([upper])
    expect(await pruneImages(caches, { maxBytes: 0 })).toEqual([lower])
  })

  test('`images rm` removes the layers on top of an image, and layers below that nothing needs', async () => {
    const { cacheDir, caches } = ownImages()
    const lower = defineImage({ name: 'lower', build, run: ['true'] })
    const all = async () => {
      await open({ name: 'one', from: lower, run: ['1'], prepare: () => 1 }, cacheDir)
      const { entry } = await open({ name: 'one', from: lower, run: ['1'], prepare: () => 2 }, cacheDir)
      await open({ name: 'two', from: lower, run: ['2'] }, cacheDir)
      const names = await listNames(cacheDir)
      setUsed(cacheDir, names, new Date())
      return { entry, names }
    }
    const prepare = () => 1
    const { entry, names } = await all()
    expect(names.map((name) => name.replace(/-.*/, ''))).toEqual([
      'lower',
      'lower',
      'one',
      'one',
      'one',
      'two',
    ])
    // The layer of `run` is still needed by the other version of `prepare`.
    expect(await removeImages([entry], caches)).toEqual([entry])
    const other = (await readImageHistory('one', caches)).slice(0, 2).map(({ name }) => name)
    expect(await removeImages([other[0] as string], caches)).toEqual(other)
    const three = { name: 'three', build, from: undefined, files: { '/a': '' }, run: ['1'], prepare }
    const { entry: top } = await open(three, cacheDir)
    setUsed(cacheDir, await listNames(cacheDir), new Date())
    const middle = (await readImageHistory(top, caches))[1]?.name as string
    expect(await removeImages([middle], caches)).toEqual([top, middle])
    const rest = (await listNames(cacheDir)).filter((name) => !name.startsWith('three'))
    const bottom = (await readImageHistory('two', caches)).at(-1)?.name as string
    expect((await removeImages([bottom], caches)).sort()).toEqual(rest)
  })

  test('an image with a layer that a process uses is not removed', async () => {
    const { cacheDir, caches } = ownImages()
    const { entry } = await open({ run: ['true'], prepare: () => 1 }, cacheDir)
    const lower = (await readImageHistory(entry, caches))[1]?.name as string
    setUsed(cacheDir, [lower], new Date())
    const error = await failureOf(removeImages([lower], caches))
    expect(error.code).toBe('IMAGE_IN_USE')
    expect(await listNames(cacheDir)).toEqual([entry, lower].sort())
  })
})
