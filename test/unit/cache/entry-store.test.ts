import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { openCacheEntry } from '../../../src/cache/cache.js'
import {
  hasStaleUsers,
  listEntries,
  pruneEntries,
  removeEntries,
  sweepMarkers,
} from '../../../src/cache/entry-store.js'
import { buildCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { passTime } from '../../support/pass-time.js'

const MODULE = new URL('../../../dist/src/cache/entry-store.js', import.meta.url).href

beforeAll(buildCli)

const LONG_AGO = new Date(Date.now() - 2 * 60 * 60_000)

/** Makes an entry with a marker of a process of another host that was last touched two hours ago. */
async function makeUsed(cacheDir: string, name: string) {
  const build = async (dir: string) => writeFileSync(join(dir, 'disk'), name)
  const entry = basename(await openCacheEntry({ cacheDir, name, inputs: 1, build }))
  const users = join(cacheDir, 'images', '.users', entry)
  mkdirSync(users, { recursive: true })
  const marker = join(users, '00000000.1.1')
  writeFileSync(marker, '')
  utimesSync(marker, LONG_AGO, LONG_AGO)
  return { entry, marker }
}

test('an entry that another container used long ago is removed after a second check, unless its marker was touched', async () => {
  const pass = passTime()
  const cacheDir = ownTmpdir()
  const root = join(cacheDir, 'images')
  const [live, gone, named] = [
    await makeUsed(cacheDir, 'live'),
    await makeUsed(cacheDir, 'gone'),
    await makeUsed(cacheDir, 'named'),
  ]
  expect(await pruneEntries(root, { maxBytes: 0 })).toEqual([])
  expect(await removeEntries(root, [named.entry])).toEqual([named.entry])
  expect(await hasStaleUsers(root)).toBe(true)
  // After a jump of the clock, the next touch is hours before or after the marker: any change counts as a touch.
  utimesSync(live.marker, LONG_AGO, LONG_AGO.getTime() / 1000 + 15)
  pass(41_000)
  expect(await hasStaleUsers(root, [gone.entry, named.entry])).toBe(false)
  expect(await removeEntries(root, [named.entry])).toEqual([])
  expect(await pruneEntries(root, { maxBytes: 0 })).toEqual([gone.entry])
  expect((await listEntries(root)).map(({ name, isInUse }) => [name, isInUse])).toEqual([[live.entry, true]])
  expect(readdirSync(root).filter((name) => !name.startsWith('.'))).toEqual([live.entry])
})

test('the marker of another container that ended is swept after a second check, so that a later prune removes the entry', async () => {
  const pass = passTime()
  const cacheDir = ownTmpdir()
  const root = join(cacheDir, 'images')
  const { entry, marker } = await makeUsed(cacheDir, 'gone')
  await sweepMarkers(root)
  expect(existsSync(marker)).toBe(true)
  pass(41_000)
  await sweepMarkers(root)
  expect(existsSync(marker)).toBe(false)
  expect(await pruneEntries(root, { maxBytes: 0 })).toEqual([entry])
})

test('a process that ends by itself leaves no marker', async () => {
  const root = ownTmpdir()
  const source = `import { markEntryUsed } from '${MODULE}'
    import { readdirSync } from 'node:fs'
    await markEntryUsed('${root}', 'entry')
    console.log(readdirSync('${root}/.users/entry').length)`
  const { stdout } = await execa(process.execPath, ['--input-type=module', '-e', source])
  expect(stdout).toBe('1')
  expect(readdirSync(join(root, '.users', 'entry'))).toEqual([])
})
