import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { ProgressFile } from '../../../src/cache/build-progress.js'
import { withWaitLimit } from '../../../src/common/wait-limit.js'
import { encodeOrder } from '../../../src/image/build-job.js'
import { resolveImage } from '../../../src/image/resolve-image.js'
import { buildCli } from '../../support/built-cli.js'
import { digestOf, makeDisk } from '../../support/disk-images.js'
import { failureOf } from '../../support/failure-of.js'
import { type FileServer, sendFile, startFileServer } from '../../support/file-server.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript } from '../../support/run-script.js'

beforeAll(buildCli)

/** Serves a disk, whose second half is sent after `release()`. */
async function startSlowServer() {
  const disk = makeDisk(ownTmpdir(), 'raw')
  const content = readFileSync(disk)
  const server: FileServer = await startFileServer(content)
  let release = () => {}
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  server.respond = (_, response) => {
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, content.length / 2))
    released.then(() => response.end(content.subarray(content.length / 2)))
  }
  return { server, disk, release, source: { url: server.url, sha256: digestOf(disk) } }
}

/** Returns the process that holds the lock of the only entry, from the name of its claim. */
function findBuilder(cacheDir: string): number | undefined {
  const locks = join(cacheDir, 'images/.locks')
  const claims = existsSync(locks) ? readdirSync(locks).filter((name) => /^[^.]+~\d+~\d+~/.test(name)) : []
  const pid = claims.map((name) => Number.parseInt(name.split('~').at(-1)?.split('.')[1] ?? '', 36))[0]
  return pid === undefined || pid === process.pid ? undefined : pid
}

async function waitForBuilder(cacheDir: string): Promise<number> {
  await expect.poll(() => findBuilder(cacheDir), { timeout: 20_000 }).toBeDefined()
  const pid = findBuilder(cacheDir) as number
  onTestFinished(() => kill(pid))
  return pid
}

function kill(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

const runs = (pid: number) => existsSync(`/proc/${pid}`)

/** Lists what is in the folder of images besides the entries of the cache and its records. */
const remainsIn = (cacheDir: string) =>
  readdirSync(join(cacheDir, 'images')).filter((name) => /^\.(build|partial)/.test(name))

test('a download goes on after SIGKILL of the process that waits for it, and the next processes wait for its end', async () => {
  const dir = ownTmpdir()
  const cacheDir = join(dir, 'cache')
  const { server, disk, release, source } = await startSlowServer()
  ownEnv({ WITHVM_TEST_TOKEN: 'secret' })
  const program = runScript(
    dir,
    `const { resolveImage } = await import('#dist/src/image/resolve-image.js')
await resolveImage(${JSON.stringify(source)}, { cacheDir: ${JSON.stringify(cacheDir)}, detached: true })`,
  )
  const helper = await waitForBuilder(cacheDir)
  expect(readFileSync(`/proc/${helper}/cmdline`, 'utf8')).toContain('build-program.js')
  expect(readFileSync(`/proc/${helper}/cmdline`, 'utf8')).not.toContain(source.url)
  expect(readFileSync(`/proc/${helper}/environ`, 'utf8')).not.toContain('WITHVM_TEST_TOKEN')
  // It leads a session and a process group of its own, which Ctrl-C in the terminal does not reach.
  const [, , group, session] = readFileSync(`/proc/${helper}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  expect([group, session]).toEqual([String(helper), String(helper)])
  program.kill('SIGKILL')
  await program

  const steps = new Set<string>()
  const onProgress = (step: string, amount = '') => void steps.add(`${step} ${amount}`)
  const images = Array.from({ length: 8 }, () =>
    resolveImage(source, { cacheDir, detached: true, onProgress }),
  )
  await expect.poll(() => [...steps].join('\n'), { timeout: 10_000 }).toMatch(/^downloading 2 MiB of 4 MiB/m)
  release()
  for (const image of await Promise.all(images))
    expect(digestOf(image.disk?.path as string)).toBe(digestOf(disk))
  expect(server.ranges).toEqual([undefined])
  await expect.poll(() => runs(helper), { timeout: 5000 }).toBe(false)
  expect(remainsIn(cacheDir)).toEqual([])
})

test('an abort ends only the wait for a download', async () => {
  const cacheDir = ownTmpdir()
  const { server, release, source } = await startSlowServer()
  const stop = new AbortController()
  const image = resolveImage(source, { cacheDir, detached: true, signal: stop.signal })
  const helper = await waitForBuilder(cacheDir)
  stop.abort(new Error('the test is over'))
  await expect(image).rejects.toThrow('the test is over')
  expect(runs(helper)).toBe(true)
  release()
  expect((await resolveImage(source, { cacheDir, detached: true })).disk?.format).toBe('raw')
  expect(server.ranges).toEqual([undefined])
})

test('processes that need an image at the same time start one helper, whose error all get', async () => {
  const cacheDir = ownTmpdir()
  const { server, release, source } = await startSlowServer()
  release()
  const wrong = { ...source, sha256: '0'.repeat(64) }
  const failures = await Promise.all(
    Array.from({ length: 3 }, () => failureOf(resolveImage(wrong, { cacheDir, detached: true }))),
  )
  const direct = await failureOf(resolveImage(wrong, { cacheDir: ownTmpdir() }))
  expect(failures.map(({ code, message }) => [code, message])).toEqual(
    failures.map(() => ['IMAGE_CHECKSUM_WRONG', direct.message]),
  )
  expect(server.ranges.length).toBeLessThanOrEqual(4)
})

test('a killed helper is replaced, and its remains are removed', async () => {
  const cacheDir = ownTmpdir()
  const { server, source } = await startSlowServer()
  const image = resolveImage(source, { cacheDir, detached: true })
  const helper = await waitForBuilder(cacheDir)
  await expect.poll(() => server.ranges, { timeout: 10_000 }).toHaveLength(1)
  kill(helper)
  server.respond = (request, response) => sendFile(server.content, request, response)
  expect((await image).disk?.format).toBe('raw')
  expect(server.ranges).toHaveLength(2)
  expect(remainsIn(cacheDir)).toEqual([])
})

test('a test that is too short for the build of its image fails at once, and the build goes on', async () => {
  const cacheDir = ownTmpdir()
  const startedAt = performance.now()
  const start = withWaitLimit(
    () => 4000 - (performance.now() - startedAt),
    () => resolveImage('tiny', { cacheDir, detached: true }),
  )
  const error = failureOf(start)
  const helper = await waitForBuilder(cacheDir)
  expect((await error).code).toBe('TEST_TIME_TOO_SHORT')
  expect((await error).message).toMatch(
    /^The test has less time than the start of its guest needs: building the image tiny takes longer\.\n {2}Expected: .*\n {2}Got: {6}(4|3\.\d) s until the end of the test; the build has just started\nFix: Give the test more time: end it with `\}, 120_000\)`, or set `testTimeout: 120_000` in the Vitest config\./,
  )
  expect(performance.now() - startedAt).toBeLessThan(3500)
  expect(runs(helper)).toBe(true)
})

/** Starts the helper as withvm does, with another time limit. */
async function startHelper(cacheDir: string, aloneMs: number): Promise<ChildProcess> {
  const { source } = await startSlowServer()
  const program = new URL('../../../dist/src/image/build-program.js', import.meta.url).pathname
  const helper = spawn(process.execPath, [program], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(() => kill(helper.pid as number))
  const checksum = { algorithm: 'sha256', hex: source.sha256 } as const
  const job = { kind: 'download', url: source.url, checksum, format: undefined } as const
  const entry = { subject: 'a disk', name: 'download', origin: source.url, inputs: source }
  helper.stdin?.write(`${encodeOrder({ ...entry, job, cacheDir, sharedCacheDir: undefined, aloneMs })}\n`)
  await once(helper.stdout as NodeJS.ReadableStream, 'data')
  return helper
}

test('a build that nobody waits for ends at its time limit, and a download can be resumed', async () => {
  const cacheDir = ownTmpdir()
  const helper = await startHelper(cacheDir, 1000)
  const startedAt = performance.now()
  helper.stdin?.end()
  await once(helper, 'exit')
  expect(performance.now() - startedAt).toBeGreaterThan(900)
  expect(remainsIn(cacheDir)).toEqual([expect.stringMatching(/^\.partial/)])
})

test('SIGTERM ends a helper and its build', async () => {
  const cacheDir = ownTmpdir()
  const helper = await startHelper(cacheDir, 60_000)
  helper.kill('SIGTERM')
  await once(helper, 'exit')
  expect(remainsIn(cacheDir)).toEqual([expect.stringMatching(/^\.partial/)])
  expect(readdirSync(join(cacheDir, 'images/.locks'))).toEqual([])
})

test('the progress of a build is not written through a link', async () => {
  const [folder, precious] = [ownTmpdir(), join(ownTmpdir(), 'precious')]
  writeFileSync(precious, 'of the user')
  symlinkSync(precious, join(folder, 'build.progress'))
  const file = new ProgressFile(join(folder, 'build'))
  file.report({ step: 'unpacking' })
  await expect.poll(() => readFileSync(join(folder, 'build.progress'), 'utf8')).toContain('unpacking')
  await file.close()
  expect(readFileSync(precious, 'utf8')).toBe('of the user')
  expect(readdirSync(folder)).toEqual([])
})
