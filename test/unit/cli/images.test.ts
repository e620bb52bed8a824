import { chmodSync, existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { pruneImages } from '../../../src/cache/image-store.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { buildCli, runCli } from '../../support/built-cli.js'
import { digestOf, makeDisk, qemuImg } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { sendFile, startFileServer } from '../../support/file-server.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MODULE = new URL('../../../dist/src/image/resolve-image.js', import.meta.url).href

beforeAll(buildCli)

/** Creates an empty cache, and a server with images of slightly more than 1 MiB. */
async function serveDisks(count: number) {
  const dir = ownTmpdir()
  const contents = Array.from({ length: count }, () => readFileSync(makeDisk(dir)))
  const server = await startFileServer(contents[0] as Buffer)
  server.respond = (request, response) => {
    sendFile(contents[Number(request.url?.split('?')[1])] as Buffer, request, response)
  }
  const sources = contents.map((content, index) => {
    const path = join(dir, `${index}`)
    writeFileSync(path, content)
    return { url: `${server.url}?${index}`, sha256: digestOf(path) }
  })
  return { cacheDir: join(dir, 'cache'), server, sources }
}

/** Starts another process that uses an image until it is killed. */
async function useElsewhere(source: unknown, cacheDir: string) {
  const code = `
    const { resolveImage } = await import('${MODULE}')
    await resolveImage(${JSON.stringify(source)}, { onProgress: () => {} })
    console.log('ready')
    setInterval(() => {}, 1000)`
  const user = execa(process.execPath, ['--input-type=module', '-e', code], {
    reject: false,
    env: { WITHVM_CACHE: cacheDir },
  })
  await Promise.race([new Promise((resolve) => user.stdout.once('data', resolve)), user])
  return { user }
}

test('`withvm images` pulls, lists, inspects, locates and removes an image', async () => {
  const { cacheDir, sources } = await serveDisks(1)
  const { url, sha256 } = sources[0] as { url: string; sha256: string }
  const run = (...args: string[]) => runCli(['images', ...args], { WITHVM_CACHE: cacheDir })
  expect((await run('ls')).stdout).toBe(
    'No images are cached: an image is added on first use. Recipes: tiny, debian, debian-netboot.',
  )
  const [refused, pulled] = [await run('pull', url), await run('pull', url, '--sha256', sha256)]
  expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--sha256: expected') })
  const name = /is cached as (download-[0-9a-f]{16})\.$/.exec(pulled.stdout)?.[1] as string
  const path = join(cacheDir, 'images', name, 'disk')
  expect((await run('path', url, '--sha256', sha256)).stdout).toBe(path)
  expect((await run('ls')).stdout.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, 'TIME').split('\n')).toEqual([
    expect.stringMatching(/^NAME +SIZE {2}LAST USED \(UTC\) +ORIGIN$/),
    expect.stringMatching(new RegExp(`^${name} +1\\.\\d MiB {2}TIME +${url.replace('?', '\\?')}$`)),
    '',
    expect.stringMatching(/^1 image, 1\.\d MiB$/),
  ])
  const [history, asJson] = [await run('history', 'download'), await run('history', name, '--json')]
  expect(history.stdout.split('\n')).toEqual([
    expect.stringMatching(/^LAYER +BUILT +TOOK +SIZE +CONTENT$/),
    expect.stringMatching(new RegExp(`^${name}  [-0-9]{10} [:0-9]{5}  [0-9.]+ m?s +1\\.\\d MiB +http`)),
  ])
  expect(JSON.parse(asJson.stdout)).toEqual([expect.objectContaining({ name, content: url })])
  const { stdout } = await run('inspect', path)
  expect(stdout.replace(/virtual, \S+ \S+ allocated/, 'virtual, N allocated')).toBe(`image     ${path}
disk      ${path}
format    qcow2
size      4 MiB virtual, N allocated
login     root, with a key injected at boot
agent     unknown
start     cold
defaults  1 GiB of memory, 1 CPU`)
  expect(await run('rm', 'download-0')).toMatchObject({ exitCode: 2 })
  expect((await run('rm', name)).exitCode).toBe(0)
  expect(existsSync(path)).toBe(false)
})

test('`withvm images inspect` lists the backing chain; `build` suggests a name for an unknown recipe', async () => {
  const dir = ownTmpdir()
  const disk = makeDisk(dir)
  const overlay = join(dir, 'overlay.qcow2')
  qemuImg('create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', disk, overlay)
  const run = (...args: string[]) => runCli(['images', ...args], { WITHVM_CACHE: dir })
  expect((await run('inspect', overlay)).stdout).toContain(`backed by  ${disk} (qcow2)`)
  expect(JSON.parse((await run('inspect', overlay, '--json')).stdout).disk.chain).toHaveLength(2)
  expect(await run('build', 'tinny')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining("Specify 'tiny'."),
  })
})

test('the least recently used images are evicted, except images in use by a running process', async () => {
  const { cacheDir, sources } = await serveDisks(3)
  const { user } = await useElsewhere(sources[0], cacheDir)
  const { user: short } = await useElsewhere(sources[1], cacheDir)
  short.kill('SIGKILL')
  await short
  const names = () => readdirSync(join(cacheDir, 'images')).filter((name) => name.startsWith('download-'))
  const before = names()
  for (const name of before) {
    const longAgo = new Date(Date.now() - 1_000_000)
    utimesSync(join(cacheDir, 'images', '.users', name), longAgo, longAgo)
  }
  const env = { WITHVM_CACHE: cacheDir, WITHVM_IMAGES_SIZE: '3M' }
  const { url, sha256 } = sources[2] as { url: string; sha256: string }
  const pulled = await runCli(['images', 'pull', url, '--sha256', sha256], env)
  expect(pulled.exitCode).toBe(0)
  // The image in use and the new one are kept.
  expect(names()).toHaveLength(2)
  const removal = await runCli(['images', 'prune'], env)
  expect(removal.stdout).toMatch(/^Removed download-/)
  const [inUse = ''] = names()
  const refused = await runCli(['images', 'rm', inUse], env)
  expect(refused).toMatchObject({
    exitCode: 69,
    stderr: expect.stringContaining('Images in use by a running process'),
  })
  user.kill('SIGKILL')
  await user
  expect((await runCli(['images', 'rm', inUse], env)).exitCode).toBe(0)
})

test('images of a cache that is readable for other users are removed only by an explicit command', async () => {
  const { cacheDir, sources } = await serveDisks(3)
  const env = { WITHVM_CACHE: cacheDir, WITHVM_IMAGES_SIZE: '2M' }
  const pull = ({ url, sha256 } = { url: '', sha256: '' }) =>
    runCli(['images', 'pull', url, '--sha256', sha256], env)
  const names = () => readdirSync(join(cacheDir, 'images')).filter((name) => name.startsWith('download-'))
  const images = join(cacheDir, 'images')
  chmodSync(dirname(cacheDir), 0o755)
  await pull(sources[0])
  const { stderr } = await pull(sources[1])
  expect(stderr.replaceAll(/\d\.\d MiB/g, 'N MiB')).toContain(
    `withvm: ${images} contains N MiB of images, more than 2 MiB. Other users can read it, so images are removed only by \`withvm images prune\`.`,
  )
  expect(names()).toHaveLength(2)
  const pruned = await runCli(['images', 'prune', '--max-size', '2M'], env)
  expect(pruned).toMatchObject({
    stderr: `withvm: ${images} is readable for other users; images that only their guests use do not count as in use.`,
    stdout: expect.stringMatching(/^Removed download-/),
  })
  chmodSync(dirname(cacheDir), 0o700)
  expect((await pull(sources[2])).stderr).not.toContain('Other users')
  expect(names()).toHaveLength(1)
})

test('`withvm images rm` waits until the container that used an image is known to be gone', async () => {
  const { cacheDir, sources } = await serveDisks(1)
  const env = { WITHVM_CACHE: cacheDir }
  const { url, sha256 } = sources[0] as { url: string; sha256: string }
  const pulled = await runCli(['images', 'pull', url, '--sha256', sha256], env)
  const name = /is cached as (download-[0-9a-f]{16})\.$/.exec(pulled.stdout)?.[1] as string
  const marker = join(cacheDir, 'images', '.users', name, '00000000.1.1')
  writeFileSync(marker, '')
  const longAgo = new Date(Date.now() - 2 * 60 * 60_000)
  utimesSync(marker, longAgo, longAgo)
  const removal = await runCli(['images', 'rm', name], env)
  expect(removal).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('waiting 41 s') })
  expect(existsSync(join(cacheDir, 'images', name))).toBe(false)
}, 150_000)

test('an aborted download is kept for a week, or until all images are pruned', async () => {
  const { cacheDir, sources, server } = await serveDisks(1)
  server.respond = (_, response) => {
    response.writeHead(200, { 'content-length': server.content.length })
    response.write(server.content.subarray(0, 1000), () => response.socket?.destroy())
  }
  const caches = { cacheDir, sharedCacheDir: undefined }
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('enough')), 300)
  const aborted = resolveImage(sources[0] as never, { cacheDir, signal: controller.signal })
  await expect(aborted).rejects.toThrow('enough')
  const partials = () => readdirSync(join(cacheDir, 'images')).filter((name) => name.startsWith('.partial-'))
  expect(partials()).toHaveLength(1)
  await pruneImages(caches)
  expect(partials()).toHaveLength(1)
  await pruneImages(caches, { maxBytes: 0 })
  expect(partials()).toEqual([])
})

test('a checksum for an image path is rejected', async () => {
  const error = await failureOf(resolveImage('nowhere.qcow2'))
  expect(error.code).toBe('IMAGE_NOT_FOUND')
  const path = makeDisk(ownTmpdir())
  const run = await runCli(['images', 'inspect', path, '--sha256', '0'.repeat(64)])
  expect(run).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining('The option `--sha256` is the checksum of a download.'),
  })
})
