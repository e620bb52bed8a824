import { once } from 'node:events'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openCacheEntry } from '../../../src/cache/cache.js'
import { processScope } from '../../../src/common/locks/process-identity.js'
import { buildCli } from '../../support/built-cli.js'
import { failureOf } from '../../support/failure-of.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { passTime } from '../../support/pass-time.js'

const CACHE_MODULE = new URL('../../../dist/src/cache/cache.js', import.meta.url).href

/** Opens the entry in another process, whose build takes `buildMs` and appends a line to `builds`. */
function openElsewhere(cacheDir: string, buildMs: number, before: readonly string[] = []) {
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
  const [file = '', ...args] = [...before, process.execPath, '--input-type=module', '-e', source]
  return execa(file, args, { reject: false })
}

const buildHere = async (dir: string) => writeFileSync(join(dir, 'disk'), 'whole')

/** Lists the folder of images, without locks. */
const entriesIn = (cacheDir: string) =>
  readdirSync(join(cacheDir, 'images')).filter((name) => name !== '.locks')

beforeAll(buildCli)

describe('openCacheEntry', () => {
  test('a cache entry is built once and reused', async () => {
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
    expect(entriesIn(cacheDir)).toHaveLength(1)
  })

  test('other inputs result in another cache entry', async () => {
    const cacheDir = ownTmpdir()
    const one = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(await openCacheEntry({ cacheDir, name: 'x', inputs: 2, build: buildHere })).not.toBe(one)
  })

  test('the remains of a build of another container are removed after a second check, unless they were touched', async () => {
    const pass = passTime()
    const cacheDir = ownTmpdir()
    const images = join(cacheDir, 'images')
    const [fresh, touched, old] = ['h', 'i', 'j'].map((id) => `.build-00000000.${id}.1-x-17`) as [
      string,
      string,
      string,
    ]
    for (const name of [fresh, touched, old]) mkdirSync(join(images, name), { recursive: true })
    const longAgo = new Date(Date.now() - 2 * 60 * 60 * 1000)
    for (const name of [touched, old]) utimesSync(join(images, name), longAgo, longAgo)
    await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(entriesIn(cacheDir)).toEqual([fresh, touched, old, expect.stringMatching(/^x-/)])
    // The clock of the other host may be hours behind: any change of the time counts as a touch.
    utimesSync(join(images, touched), longAgo, longAgo.getTime() / 1000 + 15)
    pass(41_000)
    await expect.poll(() => entriesIn(cacheDir)).toEqual([fresh, touched, expect.stringMatching(/^x-/)])
  })

  test('the remains of a build of another user do not prevent a build', async () => {
    const cacheDir = ownTmpdir()
    const left = join(cacheDir, 'images', `.build-${processScope()}.zzzzzz.1-y-17`)
    mkdirSync(left, { recursive: true })
    writeFileSync(join(left, 'disk'), 'half')
    for (const dir of [cacheDir, join(cacheDir, 'images')]) chownSync(dir, 12_345, 12_345)
    const user = ['setpriv', '--reuid', '12345', '--regid', '12345', '--clear-groups']
    const { stderr } = await openElsewhere(cacheDir, 0, user)
    expect(stderr).toBe('')
    expect(entriesIn(cacheDir)).toEqual([basename(left), expect.stringMatching(/^x-/)])
  })

  test('an entry that another container has built in the meantime is not replaced', async () => {
    const cacheDir = ownTmpdir()
    const elsewhere = await openCacheEntry({ cacheDir: ownTmpdir(), name: 'x', inputs: 1, build: buildHere })
    const dir = join(cacheDir, 'images', basename(elsewhere))
    const build = async (building: string) => {
      writeFileSync(join(building, 'disk'), 'whole')
      writeFileSync(join(building, 'more'), 'ours')
      cpSync(elsewhere, dir, { recursive: true, preserveTimestamps: true })
    }
    expect(await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build })).toBe(dir)
    expect(readdirSync(dir)).toEqual(['disk', 'manifest.json'])
    expect(entriesIn(cacheDir).filter((name) => name.startsWith('.build-'))).toEqual([])
  })

  test('two containers that share the cache build an entry once', async () => {
    const cacheDir = ownTmpdir()
    const container = ['unshare', '--net', '--pid', '--fork', '--mount-proc']
    const outcomes = await Promise.all([
      openElsewhere(cacheDir, 500, container),
      openElsewhere(cacheDir, 500, container),
    ])
    expect(outcomes.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    expect(readFileSync(join(cacheDir, 'builds'), 'utf8')).toBe('built\n')
  })

  test('an entry whose file was changed in place is rebuilt, even if the size is the same', async () => {
    const cacheDir = ownTmpdir()
    const open = () => openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    const disk = join(await open(), 'disk')
    const { atime, mtime } = statSync(disk)
    writeFileSync(disk, 'WHOLE')
    utimesSync(disk, atime, mtime)
    await open()
    expect(readFileSync(disk, 'utf8')).toBe('whole')
  })

  test('a copied cache with other times is accepted after its checksums were computed once', async () => {
    const [cacheDir, copy] = [ownTmpdir(), ownTmpdir()]
    await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    cpSync(cacheDir, copy, { recursive: true })
    const build = () => Promise.reject(new Error('built again'))
    const dir = await openCacheEntry({ cacheDir: copy, name: 'x', inputs: 1, build })
    expect(readFileSync(join(dir, 'disk'), 'utf8')).toBe('whole')
    expect(readdirSync(join(copy, 'images', '.verified'))).toHaveLength(1)
  })

  test('the files of an image are read-only, and those of a template accessible only to their owner', async () => {
    const cacheDir = ownTmpdir()
    const modes = async (folder: 'images' | 'templates') => {
      const dir = await openCacheEntry({ cacheDir, folder, name: 'x', inputs: 1, build: buildHere })
      return ['..', '.', 'disk', 'manifest.json'].map((name) =>
        (statSync(join(dir, name)).mode & 0o777).toString(8),
      )
    }
    expect(await modes('images')).toEqual(['755', '755', '444', '444'])
    expect(await modes('templates')).toEqual(['700', '700', '600', '600'])
  })

  test('the entry of a container that was faster is used', async () => {
    const cacheDir = ownTmpdir()
    const made = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    const aside = `${made}.aside`
    renameSync(made, aside)
    const build = async (dir: string) => {
      await buildHere(dir)
      // The entry of the other container is renamed just before ours.
      cpSync(aside, made, { recursive: true })
      rmSync(dir, { recursive: true })
    }
    expect(await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build })).toBe(made)
  })

  test('two concurrent processes build an entry once', async () => {
    const cacheDir = ownTmpdir()
    const outcomes = await Promise.all([openElsewhere(cacheDir, 300), openElsewhere(cacheDir, 300)])
    expect(outcomes.map(({ exitCode }) => exitCode)).toEqual([0, 0])
    expect(readFileSync(join(cacheDir, 'builds'), 'utf8')).toBe('built\n')
  })

  test('a complete entry is used although a stopped process is next in the queue for its lock', async () => {
    const cacheDir = ownTmpdir()
    let finish = () => {}
    const builder = openCacheEntry({
      cacheDir,
      name: 'x',
      inputs: 1,
      build: async (dir) => {
        await buildHere(dir)
        await new Promise<void>((resolve) => {
          finish = resolve
        })
      },
    })
    const locks = join(cacheDir, 'images', '.locks')
    await expect.poll(() => existsSync(locks) && readdirSync(locks).length).toBe(1)
    const waiter = openElsewhere(cacheDir, 0)
    onTestFinished(() => void waiter.kill('SIGKILL'))
    await expect.poll(() => readdirSync(locks).length, { timeout: 20_000 }).toBe(2)
    waiter.kill('SIGSTOP')
    const last = await new Promise<{ opened: Promise<string> }>((resolve) => {
      const build = () => Promise.reject(new Error('built again'))
      const signal = AbortSignal.timeout(10_000)
      const onWait = () => resolve({ opened })
      const opened = openCacheEntry({ cacheDir, name: 'x', inputs: 1, build, signal, onWait })
    })
    finish()
    expect(await last.opened).toBe(await builder)
    // Only the claim of the stopped process is left.
    expect(readdirSync(locks)).toHaveLength(1)
  })

  test('a build starts immediately after a builder was killed, whose remains are removed', async () => {
    const cacheDir = ownTmpdir()
    const killed = openElsewhere(cacheDir, 60_000)
    await once(killed.stdout, 'data')
    killed.kill('SIGKILL')
    await killed
    expect(entriesIn(cacheDir)).toEqual([expect.stringMatching(/^\.build-.*-x-/)])
    const dir = await openCacheEntry({ cacheDir, name: 'x', inputs: 1, build: buildHere })
    expect(readFileSync(join(dir, 'disk'), 'utf8')).toBe('whole')
    expect(entriesIn(cacheDir)).toEqual([expect.stringMatching(/^x-/)])
  })

  describe.each(['images', 'templates'] as const)('damaged entries of %s', (folder) => {
    test.each<[string, (dir: string) => void]>([
      ['a truncated file', (dir) => truncateSync(join(dir, 'disk'), 2)],
      ['a flipped bit', (dir) => writeFileSync(join(dir, 'disk'), 'wholf')],
      ['a missing file', (dir) => rmSync(join(dir, 'disk'))],
      ['a missing manifest', (dir) => rmSync(join(dir, 'manifest.json'))],
      ['no file', (dir) => readdirSync(dir).forEach((file) => void rmSync(join(dir, file)))],
    ])('an entry with %s is rebuilt', async (_, damage) => {
      const cacheDir = ownTmpdir()
      let builds = 0
      const build = (dir: string) => {
        builds++
        return buildHere(dir)
      }
      const open = () => openCacheEntry({ cacheDir, folder, name: 'x', inputs: 1, build })
      damage(await open())
      expect(readFileSync(join(await open(), 'disk'), 'utf8')).toBe('whole')
      await open()
      expect(builds).toBe(2)
    })
  })

  test('a template with a damaged file in a folder, such as the state of a TPM, is rebuilt', async () => {
    const cacheDir = ownTmpdir()
    let builds = 0
    const build = async (dir: string) => {
      builds++
      mkdirSync(join(dir, 'tpm'))
      writeFileSync(join(dir, 'tpm', 'state'), 'whole')
    }
    const open = () => openCacheEntry({ cacheDir, folder: 'templates', name: 'x', inputs: 1, build })
    writeFileSync(join(await open(), 'tpm', 'state'), 'wholf')
    expect(readFileSync(join(await open(), 'tpm', 'state'), 'utf8')).toBe('whole')
    await open()
    expect(builds).toBe(2)
  })

  test('the remains of a failed build are removed, and a full disk is reported as NO_SPACE', async () => {
    const cacheDir = ownTmpdir()
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    const build = () => Promise.reject(full)
    const error = await failureOf(openCacheEntry({ cacheDir, name: 'x', inputs: 1, build }))
    expect(error.code).toBe('NO_SPACE')
    expect(entriesIn(cacheDir)).toEqual([])
  })

  test('an unwritable cache folder is reported with a fix', async () => {
    const file = join(ownTmpdir(), 'file')
    writeFileSync(file, '')
    const error = await failureOf(
      openCacheEntry({ cacheDir: join(file, 'cache'), name: 'x', inputs: 1, build: buildHere }),
    )
    expect(error.message).toBe(`'x' cannot be stored: ${file}/cache/images is not writable.
  Got:      ENOTDIR: not a directory, mkdir '${file}/cache/images'
Fix: Set WITHVM_CACHE to a folder that this user can write to.`)
  })
})
