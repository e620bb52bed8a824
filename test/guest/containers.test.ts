import { chmodSync, cpSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, describe, expect, test } from 'vitest'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { resolveImage } from '../../src/image/resolve-image.js'
import { buildCli } from '../support/built-cli.js'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const ROOT = resolve(import.meta.dirname, '../..')
/** User id and group id without an entry in the user database. */
const UNNAMED_ID = 54_321
const isRoot = process.geteuid?.() === 0

beforeAll(buildCli)

/** Copies the built package to a folder that every user can read, with a folder for runs that every user can write to. */
async function makeOpenPackage(): Promise<{ readonly folder: string; readonly runs: string }> {
  const folder = ownTmpdir()
  chmodSync(folder, 0o755)
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const runs = join(folder, 'runs')
  mkdirSync(runs)
  chmodSync(runs, 0o1777)
  await resolveImage('tiny') // in the cache that the other user reads
  return { folder, runs }
}

/** Starts two guests, one after the other, as a user whose id has no name, as in containers. */
async function startGuests(env: Readonly<Record<string, string>>) {
  const { folder, runs } = await makeOpenPackage()
  const script = join(folder, 'script.mjs')
  writeFileSync(
    script,
    `import { withVM } from '${folder}/dist/fixtures/index.js'
    for (const _ of [1, 2])
      console.log((await withVM({ standby: false }, (vm) => vm.ssh\`echo well\`)).stdout)`,
  )
  const user = ['--reuid', String(UNNAMED_ID), '--regid', String(UNNAMED_ID), '--clear-groups']
  const { stdout, stderr, exitCode } = await execa(
    'setpriv',
    [...(isRoot ? user : []), process.execPath, script],
    {
      reject: false,
      extendEnv: false,
      cwd: folder,
      env: {
        PATH: process.env.PATH ?? '',
        TMPDIR: runs,
        WITHVM_SHARED_CACHE: resolveCacheDir(),
        WITHVM_POOL: 'containers',
        ...env,
      },
    },
  )
  return { stdout: String(stdout), stderr: String(stderr), exitCode, runs }
}

describe.runIf(isRoot)('a user id without a name', () => {
  test.each([
    ['without HOME', {}, 'this user has no home directory'],
    ['with an unwritable HOME', { HOME: '/' }, '/.cache/withvm cannot be created'],
  ])(
    'a user id without a name, %s, gets a private cache, which is reported once',
    async (_title, env, reason) => {
      const { stdout, stderr, exitCode, runs } = await startGuests(env)
      expect(exitCode, stderr).toBe(0)
      expect(stdout).toBe('well\nwell')
      const cache = join(runs, `withvm-cache-${UNNAMED_ID}`)
      expect(stderr.split(`withvm: images are cached in ${cache}: ${reason}. Fix: `)).toHaveLength(2)
      const { mode, uid } = statSync(cache)
      expect([mode & 0o777, uid]).toEqual([0o700, UNNAMED_ID])
      expect(findLeftovers(runs)).toEqual(NOTHING)
    },
  )
})
