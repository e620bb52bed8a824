import { chmodSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findTemporaryCache, resolveCacheDir } from '../../../src/common/cache-dir.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

test('WITHVM_CACHE sets the cache directory, relative to the working directory', () => {
  expect(resolveCacheDir({ WITHVM_CACHE: '/big/cache', XDG_CACHE_HOME: '/xdg' })).toBe('/big/cache')
  expect(resolveCacheDir({ WITHVM_CACHE: 'cache' })).toBe(join(process.cwd(), 'cache'))
})

test('the cache directory is in XDG_CACHE_HOME when that is an absolute path', () => {
  const HOME = ownTmpdir()
  expect(resolveCacheDir({ XDG_CACHE_HOME: '/xdg', HOME })).toBe('/xdg/withvm')
  expect(resolveCacheDir({ XDG_CACHE_HOME: 'xdg', HOME })).toBe(join(HOME, '.cache/withvm'))
})

test('the cache directory is in the home directory when nothing else is set', () => {
  const HOME = ownTmpdir()
  const env = { HOME, WITHVM_CACHE: '', XDG_CACHE_HOME: '' }
  expect(resolveCacheDir(env)).toBe(join(HOME, '.cache/withvm'))
  expect(findTemporaryCache(env)).toBeUndefined()
  expect(lstatSync(join(HOME, '.cache/withvm')).mode & 0o777).toBe(0o700)
  expect(resolveCacheDir({})).toBe(join(homedir(), '.cache/withvm'))
})

/** A home directory in which nothing can be created, by root either: it is a file. */
function makeClosedHome(): { readonly HOME: string; readonly temporary: string } {
  const folder = ownTmpdir()
  ownEnv({ TMPDIR: folder })
  const HOME = join(folder, 'home')
  writeFileSync(HOME, '', { mode: 0o600 })
  return { HOME, temporary: join(folder, `withvm-cache-${process.geteuid?.()}`) }
}

test('without a usable home directory the cache is a private folder in the temporary directory', () => {
  const { HOME, temporary } = makeClosedHome()
  expect(resolveCacheDir({ HOME })).toBe(temporary)
  expect(lstatSync(temporary).mode & 0o777).toBe(0o700)
  expect(findTemporaryCache({ HOME })).toEqual({
    dir: temporary,
    reason: `${HOME}/.cache/withvm cannot be created`,
  })
})

test.each([
  ['a link', (path: string) => symlinkSync('/', path), 'something that is not a directory'],
  ['a directory that others may enter', (path: string) => mkdirSync(path), 'a directory with mode 755'],
])('%s in place of the temporary cache is rejected', (_what, plant, got) => {
  const { HOME, temporary } = makeClosedHome()
  plant(temporary)
  if (!lstatSync(temporary).isSymbolicLink()) chmodSync(temporary, 0o755)
  expect(() => resolveCacheDir({ HOME })).toThrow(
    `The temporary cache ${temporary} is unsafe.\n  Expected: a directory of this user, with mode 700\n  Got:      ${got}\nFix: Set WITHVM_CACHE`,
  )
})
