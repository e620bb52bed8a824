import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
import { openCacheEntry } from '../../../src/image/cache.js'
import { buildCli } from '../../support/built-cli.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const CACHE_MODULE = new URL('../../../dist/src/image/cache.js', import.meta.url).href

/** Another process that opens the entry; its build takes `buildMs` and leaves a line in `builds`. */
function openElsewhere(cacheDir: string, buildMs: number) {
  const source = `
    import { appendFileSync, writeFileSync } from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    import { openCacheEntry } from '${CACHE_MODULE}'
    await openCacheEntry({ cacheDir: '${cacheDir}', name: 'x', inputs: 1, build: async (dir) => {
      writeFileSync(dir + '/disk', 'half')
      console.log('building')
      await sleep(${buildMs})
      writeFileSync(dir + '/disk', 'whole')
      appendFileSync('${cacheDir}/builds', 'built\\n')
    } })`
  return execa(process.execPath, ['--input-type=module', '-e', source], { reject: false })
}

const buildHere = async (dir: string) => writeFileSync(join(dir, 'disk'), 'whole')

beforeAll(buildCli)

describe('openCacheEntry', () => {
  test('builds an entry once and finds it again', async () => {
    const cacheDir = ownTmpdir()
    let builds = 0
    const open = () =>
      openCacheEntry({
        cacheDir,
        name: 'x',
        inputs: { a: 1 },
        build: async (dir) => {
          builds++
          await buildHere(dir)
        },
      })
    const dir = await open()
    expect(await open()).toBe(dir)
    expect(builds).toBe(1)
    expect(dir).toMatch(/\/images\/x-[0-9a-f]{16}$/)
    expect(readdirSync(join(cacheDir, 'images'))).toHaveLength(1)
  })

  test('makes another entry for other inputs', async () => {
    const cacheDir = ownTmpdir()
    const one = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(await openCacheEntry({ cacheDir, name: 'x', inputs: 2, build: buildHere })).not.toBe(one)
  })

  test('takes a build of another container for dead only when it is older than any build takes', async () => {
    const cacheDir = ownTmpdir()
    const images = join(cacheDir, 'images')
    const now = Date.now()
    const [fresh, old] = [`.build-000000-x-17-${now}`, `.build-000000-x-18-${now - 2 * 60 * 60 * 1000}`]
    for (const name of [fresh, old]) mkdirSync(join(images, name), { recursive: true })
    await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(readdirSync(images)).toContain(fresh)
    expect(readdirSync(images)).not.toContain(old)
  })

  test('takes the entry of a container that was faster', async () => {
    const cacheDir = ownTmpdir()
    const made = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    const aside = `${made}.aside`
    renameSync(made, aside)
    const build = async (dir: string) => {
      await buildHere(dir)
      // The other container's entry comes to its place just before ours would.
      cpSync(aside, made, { recursive: true })
      rmSync(dir, { recursive: true })
    }
    expect(await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build })).toBe(made)
  })

  test('lets two processes at once do one build', async () => {
    const cacheDir = ownTmpdir()
    const outcomes = await Promise.all([openElsewhere(cacheDir, 300), openElsewhere(cacheDir, 300)])
    expect(outcomes.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    expect(readFileSync(join(cacheDir, 'builds'), 'utf8')).toBe('built\n')
  })

  test('builds right after a builder was killed half-way, and sweeps what it left', async () => {
    const cacheDir = ownTmpdir()
    const killed = openElsewhere(cacheDir, 60_000)
    await once(killed.stdout, 'data')
    killed.kill('SIGKILL')
    await killed
    expect(readdirSync(join(cacheDir, 'images'))).toEqual([expect.stringMatching(/^\.build-[0-9a-f]{6}-x-/)])
    const dir = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(readFileSync(join(dir, 'disk'), 'utf8')).toBe('whole')
    expect(readdirSync(join(cacheDir, 'images'))).toEqual([expect.stringMatching(/^x-/)])
  })

  test('builds again what was truncated', async () => {
    const cacheDir = ownTmpdir()
    const open = () => openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    const dir = await open()
    truncateSync(join(dir, 'disk'), 2)
    await open()
    expect(readFileSync(join(dir, 'disk'), 'utf8')).toBe('whole')
  })

  test('leaves nothing of a build that fails, and says NO_SPACE when the disk is full', async () => {
    const cacheDir = ownTmpdir()
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    const build = () => Promise.reject(full)
    const error = await failureOf(openCacheEntry({ cacheDir, name: 'x', inputs: 1, build }))
    expect(error.code).toBe('NO_SPACE')
    expect(readdirSync(join(cacheDir, 'images'))).toEqual([])
  })

  test('a folder that nothing can be written to is named, with the way out', async () => {
    const file = join(ownTmpdir(), 'file')
    writeFileSync(file, '')
    const error = await failureOf(
      openCacheEntry({ cacheDir: join(file, 'cache'), name: 'x', inputs: 1, build: buildHere }),
    )
    expect(error.message).toBe(`The image x cannot be built: nothing can be written to ${file}/cache/images.
  Got:      ENOTDIR: not a directory, mkdir '${file}/cache/images'
Fix: Point WITHVM_CACHE at a folder that this user may write to.`)
  })
})
