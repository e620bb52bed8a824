import { homedir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { resolveCacheDir } from '../../../src/common/cache-dir.js'

test('WITHVM_CACHE names the cache directory, relative to where the process runs', () => {
  expect(resolveCacheDir({ WITHVM_CACHE: '/big/cache', XDG_CACHE_HOME: '/xdg' })).toBe('/big/cache')
  expect(resolveCacheDir({ WITHVM_CACHE: 'cache' })).toBe(join(process.cwd(), 'cache'))
})

test('the cache directory is in XDG_CACHE_HOME when that is an absolute path', () => {
  expect(resolveCacheDir({ XDG_CACHE_HOME: '/xdg', HOME: '/home/me' })).toBe('/xdg/withvm')
  expect(resolveCacheDir({ XDG_CACHE_HOME: 'xdg', HOME: '/home/me' })).toBe('/home/me/.cache/withvm')
})

test('the cache directory is in the home directory when nothing else is said', () => {
  expect(resolveCacheDir({ HOME: '/home/me', WITHVM_CACHE: '', XDG_CACHE_HOME: '' })).toBe(
    '/home/me/.cache/withvm',
  )
  expect(resolveCacheDir({})).toBe(join(homedir(), '.cache', 'withvm'))
})
