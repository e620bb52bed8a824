import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { execa } from 'execa'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { findOptionProblems } from '../../../src/spec/validate-options.js'
import { buildCli } from '../../support/built-cli.js'
import { digestOf, makeDisk, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { sendFile, startFileServer } from '../../support/file-server.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MODULE = new URL('../../../dist/src/image/resolve-image.js', import.meta.url).href

const PACKERS = {
  gz: ['gzip', '-k'],
  xz: ['xz', '-k0'],
  zst: ['zstd', '-q'],
  bz2: ['bzip2', '-k'],
} as const

function pack(path: string, kind: keyof typeof PACKERS): string {
  const [program, ...args] = PACKERS[kind]
  execFileSync(program, [...args, path])
  return `${path}.${kind}`
}

/** Lists the cache of images without its digests and users. */
function entriesIn(cacheDir: string): string[] {
  return readdirSync(join(cacheDir, 'images')).filter(
    (name) => !['.digests', '.users', '.locks'].includes(name),
  )
}

/** Resolves an image in another process, which prints the path of the disk. */
function resolveElsewhere(source: unknown, cacheDir: string, env: NodeJS.ProcessEnv = {}) {
  const code = `
    const { resolveImage } = await import('${MODULE}')
    const report = (step, amount) => console.error(step, amount)
    const image = await resolveImage(${JSON.stringify(source)}, { onProgress: report })
    console.log(image.disk.path)`
  return execa(process.execPath, ['--input-type=module', '-e', code], {
    reject: false,
    env: { WITHVM_CACHE: cacheDir, ...env },
  })
}

beforeAll(buildCli)

describe('files', () => {
  test('a file: URL is a path', async () => {
    const path = makeDisk(ownTmpdir())
    expect((await resolveImage(pathToFileURL(path).href)).disk).toEqual({ path, format: 'qcow2' })
    expect((await failureOf(resolveImage('file://elsewhere/disk'))).code).toBe('IMAGE_NOT_FOUND')
  })

  test.each(['gz', 'xz', 'zst', 'bz2'] as const)(
    'a .%s file is detected from its content and unpacked once',
    async (kind) => {
      const dir = ownTmpdir()
      const raw = makeDisk(dir, 'raw')
      const packed = join(dir, 'disk.img')
      renameSync(pack(raw, kind), packed)
      const cacheDir = join(dir, 'cache')
      const image = await resolveImage(packed, { cacheDir })
      expect(image.disk?.format).toBe('raw')
      const path = image.disk?.path as string
      expect(digestOf(path)).toBe(digestOf(raw))
      // Three of its four mebibytes are empty.
      expect(statSync(path).blocks * 512).toBeLessThan(1.5 * 1024 ** 2)
      expect((await resolveImage({ path: packed, format: 'raw' }, { cacheDir })).disk?.path).toBe(packed)
      renameSync(packed, `${packed}.moved`)
      expect((await resolveImage(`${packed}.moved`, { cacheDir })).disk?.path).toBe(path)
      expect(entriesIn(cacheDir)).toHaveLength(1)
    },
  )

  test.each(['gz', 'xz', 'zst', 'bz2'] as const)(
    'a truncated .%s file is rejected and leaves nothing',
    async (kind) => {
      const dir = ownTmpdir()
      const packed = pack(makeDisk(dir, 'raw'), kind)
      truncateSync(packed, 500_000)
      const cacheDir = join(dir, 'cache')
      const error = await failureOf(resolveImage(packed, { cacheDir }))
      expect(error.code).toBe('IMAGE_INVALID')
      expect(error.message).toContain(packed)
      expect(entriesIn(cacheDir)).toEqual([])
    },
  )

  test('a disk in a compressed file is verified like any other disk', async () => {
    const dir = ownTmpdir()
    const path = makeDisk(dir)
    truncateSync(path, 500_000)
    const error = await failureOf(resolveImage(pack(path, 'gz'), { cacheDir: join(dir, 'cache') }))
    expect(error.message).toContain('is truncated')
  })
})

describe('URLs', () => {
  test('an image at a URL is fetched, verified and unpacked once, and later used without the server', async () => {
    const dir = ownTmpdir()
    const disk = makeDisk(dir)
    const server = await startFileServer(readFileSync(pack(disk, 'xz')))
    const source = { url: server.url, sha512: digestOf(`${disk}.xz`, 'sha512').toUpperCase() }
    const cacheDir = join(dir, 'cache')
    const image = await resolveImage(source, { cacheDir })
    expect(image).toMatchObject({ name: server.url, disk: { format: 'qcow2' } })
    expect(digestOf(image.disk?.path as string)).toBe(digestOf(disk))
    server.respond = (_, response) => void response.writeHead(500).end()
    expect(await resolveImage(source, { cacheDir })).toEqual(image)
    expect(server.ranges).toHaveLength(1)
    expect(entriesIn(cacheDir)).toHaveLength(1)
  })

  test('a wrong checksum leaves nothing in the cache', async () => {
    const dir = ownTmpdir()
    const server = await startFileServer(readFileSync(makeDisk(dir)))
    const cacheDir = join(dir, 'cache')
    const error = await failureOf(resolveImage({ url: server.url, sha256: '0'.repeat(64) }, { cacheDir }))
    expect(error.code).toBe('IMAGE_CHECKSUM_WRONG')
    expect(entriesIn(cacheDir)).toEqual([])
  })

  test('a downloaded image that names host files is rejected, and leaves nothing', async () => {
    const dir = ownTmpdir()
    const path = join(dir, 'overlay.qcow2')
    qemuImg('create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/hostname', path, '4M')
    const server = await startFileServer(readFileSync(path))
    const cacheDir = join(dir, 'cache')
    const error = await failureOf(resolveImage({ url: server.url, sha256: digestOf(path) }, { cacheDir }))
    expect(error.code).toBe('IMAGE_INVALID')
    expect(error.message).toContain('Got:      /etc/hostname')
    expect(entriesIn(cacheDir)).toEqual([])
  })

  test('a URL without a checksum is rejected before anything is fetched', () => {
    const problemOf = (image: unknown) =>
      findOptionProblems({ image }).map(({ path, expected }) => `${path}: ${expected}`)
    const url = 'https://example.org/disk.qcow2'
    const needed = 'exactly one checksum, `sha256` or `sha512`'
    expect(problemOf(url)).toEqual([
      'image: the name of a recipe, a path, { path, format }, or { url, sha256 }',
    ])
    expect(problemOf({ url })).toEqual([`image.sha256: ${needed}`])
    expect(problemOf({ url, sha256: 'a'.repeat(64), sha512: 'a'.repeat(128) })).toEqual([
      `image.sha256: ${needed}`,
    ])
    expect(problemOf({ url, sha256: 'abc' })).toEqual(['image.sha256: a SHA-256: 64 hexadecimal digits'])
    expect(problemOf({ url, sha265: 'a'.repeat(64) })).toContainEqual("image.sha265: 'sha256'")
    expect(problemOf({ url: 'https://me:secret@example.org/', sha256: 'a'.repeat(64) })).toEqual([
      'image.url: an http: or https: URL without user and password',
    ])
    expect(problemOf({ path: 'disk.qcow2', format: 'qcow3' })).toHaveLength(1)
    expect(problemOf({ url, sha256: 'a'.repeat(64) })).toEqual([])
  })
})

describe('the cache', () => {
  test('twenty processes that need the same image fetch it once', async () => {
    const dir = ownTmpdir()
    const disk = makeDisk(dir)
    const server = await startFileServer(readFileSync(disk))
    server.respond = (request, response) =>
      void setTimeout(() => sendFile(server.content, request, response), 500)
    const source = { url: server.url, sha256: digestOf(disk) }
    const runs = await Promise.all(
      Array.from({ length: 20 }, () => resolveElsewhere(source, join(dir, 'cache'))),
    )
    expect(new Set(runs.map(({ stdout, stderr }) => stdout || stderr)).size).toBe(1)
    expect(digestOf(runs[0]?.stdout as string)).toBe(digestOf(disk))
    expect(server.ranges).toHaveLength(1)
  })

  test.each(['downloading', 'unpacking'])(
    'a process that is killed while %s does no damage',
    async (step) => {
      const dir = ownTmpdir()
      const raw = makeDisk(dir, 'raw')
      const server = await startFileServer(readFileSync(pack(raw, 'xz')))
      const cacheDir = join(dir, 'cache')
      const source = { url: server.url, sha256: digestOf(`${raw}.xz`) }
      if (step === 'downloading') {
        server.respond = (_, response) => {
          response.writeHead(200, { 'content-length': server.content.length })
          response.write(server.content.subarray(0, 300_000))
        }
      }
      // An xz process that never ends.
      const bin = join(dir, 'bin')
      mkdirSync(bin)
      writeFileSync(join(bin, 'xz'), '#!/bin/sh\necho half\nexec sleep 20\n')
      chmodSync(join(bin, 'xz'), 0o755)
      const killed = resolveElsewhere(source, cacheDir, { PATH: `${bin}:${process.env.PATH}` })
      await new Promise<void>((resolve) =>
        killed.stderr.on('data', (text) => {
          if (new RegExp(`${step} \\d`).test(String(text))) resolve()
        }),
      )
      killed.kill('SIGKILL')
      await killed
      server.respond = (request, response) => sendFile(server.content, request, response)
      const image = await resolveImage(source, { cacheDir })
      expect(digestOf(image.disk?.path as string)).toBe(digestOf(raw))
      expect(entriesIn(cacheDir)).toHaveLength(1)
      expect(server.ranges).toEqual([undefined, expect.stringMatching(/^bytes=\d+-$/)])
    },
  )

  test('a full disk during unpacking is reported, and existing files are kept', async () => {
    const dir = ownTmpdir()
    const cacheDir = join(dir, 'small')
    mkdirSync(cacheDir)
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=900k', 'none', cacheDir])
    onTestFinished(async () => void (await execa('umount', ['-l', cacheDir])))
    const packed = pack(makeDisk(dir, 'raw'), 'gz')
    expect((await failureOf(resolveImage(packed, { cacheDir }))).code).toBe('NO_SPACE')
    expect(entriesIn(cacheDir)).toEqual([])
    await execa('mount', ['-o', 'remount,size=8m', cacheDir])
    expect((await resolveImage(packed, { cacheDir })).disk?.format).toBe('raw')
  })

  test('an image of a shared cache is read from there, and nothing is written to it', async () => {
    const dir = ownTmpdir()
    const packed = pack(makeDisk(dir), 'gz')
    const [sharedCacheDir, cacheDir] = [join(dir, 'shared'), join(dir, 'own')]
    const filled = await resolveImage(packed, { cacheDir: sharedCacheDir })
    const before = execFileSync('find', [sharedCacheDir, '-printf', '%p %T@ %s\n']).toString()
    expect((await resolveImage(packed, { cacheDir, sharedCacheDir })).disk).toEqual(filled.disk)
    expect(execFileSync('find', [sharedCacheDir, '-printf', '%p %T@ %s\n']).toString()).toBe(before)
    expect(entriesIn(cacheDir)).toEqual([])
    const other = pack(makeDisk(ownTmpdir()), 'gz')
    const { disk } = await resolveImage(other, { cacheDir, sharedCacheDir })
    expect(disk?.path.startsWith(cacheDir)).toBe(true)
    expect(existsSync(filled.disk?.path as string)).toBe(true)
  })
})
