import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { buildCli } from '../../support/built-cli.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MAIN = resolve(import.meta.dirname, '../../../dist/src/cli/main.js')

beforeAll(buildCli)

test.each([
  ['templates', 'rm', 'entry'],
  ['templates', 'prune'],
  ['images', 'rm', 'entry'],
  ['images', 'prune'],
])('`withvm %s %s` on a read-only cache fails with CACHE_READ_ONLY', async (...args) => {
  const cache = ownTmpdir()
  mkdirSync(join(cache, args[0], 'entry'), { recursive: true })
  writeFileSync(join(cache, args[0], 'entry', 'file'), 'content')
  const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
  const { stderr, exitCode } = await execa(
    'unshare',
    ['--mount', 'sh', '-c', script, cache, process.execPath, MAIN, ...args],
    { reject: false, env: { WITHVM_CACHE: cache, WITHVM_IMAGES: '' } },
  )
  expect(stderr).toContain(`Entries of ${join(cache, args[0])} cannot be removed.`)
  expect(stderr).toContain('EROFS')
  expect(exitCode).toBe(69)
})
