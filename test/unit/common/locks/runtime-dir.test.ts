import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { openRuntimeDir } from '../../../../src/common/locks/runtime-dir.js'
import { buildCli } from '../../../support/built-cli.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const BUILT = resolve(import.meta.dirname, '../../../../dist/src')

beforeAll(buildCli)

let count = 0

/** Opens a separate part, so that no result of another test is cached. */
function openIn(runtime: string): string | undefined {
  return openRuntimeDir(`test-${process.pid}-${count++}`, { XDG_RUNTIME_DIR: runtime })
}

test('the folder of locks is in XDG_RUNTIME_DIR and private to this user', () => {
  const runtime = ownTmpdir()
  const dir = openIn(runtime)
  expect(dir).toMatch(new RegExp(`^${runtime}/withvm/`))
  expect(statSync(dir as string).mode & 0o777).toBe(0o700)
  expect(statSync(join(runtime, 'withvm')).mode & 0o777).toBe(0o700)
})

const squats: Array<[string, (path: string) => void]> = [
  ['a link', (path) => symlinkSync(ownTmpdir(), path)],
  [
    'a folder that others may enter',
    (path) => {
      mkdirSync(path)
      chmodSync(path, 0o755)
    },
  ],
  [
    "another user's folder",
    (path) => {
      mkdirSync(path, { mode: 0o700 })
      chownSync(path, 12_345, 12_345)
    },
  ],
]

test.each(squats)('%s in place of the folder of locks is not used', (_, squat) => {
  const runtime = ownTmpdir()
  squat(join(runtime, 'withvm'))
  expect(openIn(runtime)).not.toContain(runtime)
})

test('a parent folder in which other users can rename the folder of locks is not used', () => {
  const runtime = ownTmpdir()
  chmodSync(runtime, 0o777)
  expect(openIn(runtime)).not.toContain(runtime)
})

test('a relative XDG_RUNTIME_DIR is ignored', () => {
  const runtime = ownTmpdir()
  expect(openIn(relative(process.cwd(), runtime))).toMatch(/^\//)
})

/** Runs a program in a namespace where `runtime` is a separate file system, which a shell command then changes. */
function runMounted(runtime: string, change: string, source: string) {
  const script = `mount -t tmpfs -o size=64k none "$0" && mkdir -m 700 "$0/withvm"
    mkdir -m 700 "$0/withvm/locks" "$0/withvm/leases"; ${change}; exec "$@"`
  const program = [process.execPath, '--input-type=module', '-e', source]
  return execa('unshare', ['--mount', 'sh', '-c', script, runtime, ...program], {
    env: { XDG_RUNTIME_DIR: runtime, WITHVM_POOL: '' },
  })
}

test.each([
  ['read-only', 'mount -o remount,ro "$0"'],
  ['full', 'dd if=/dev/zero of="$0/fill" bs=4k 2>/dev/null'],
])('a runtime folder on a %s file system is not used', async (_, change) => {
  const runtime = ownTmpdir()
  const { stdout } = await runMounted(
    runtime,
    change,
    `import { openRuntimeDir } from '${BUILT}/common/locks/runtime-dir.js'
     import { writeLeaseNamed } from '${BUILT}/budget/lease-files.js'
     console.log(openRuntimeDir('locks'))
     await (await writeLeaseNamed('test')).release()`,
  )
  expect(stdout).toMatch(/^\//)
  expect(stdout).not.toContain(runtime)
})

test('the folder in XDG_RUNTIME_DIR is used if no cache directory can be created', async () => {
  const runtime = ownTmpdir()
  chownSync(runtime, 12_345, 12_345)
  const source = `import { openRuntimeDir } from '${BUILT}/common/locks/runtime-dir.js'
    console.log(openRuntimeDir('locks'))`
  const user = ['--reuid', '12345', '--regid', '12345', '--clear-groups', process.execPath]
  const env = { PATH: process.env.PATH, XDG_RUNTIME_DIR: runtime, HOME: '/nowhere', TMPDIR: '/nowhere' }
  const program = [...user, '--input-type=module', '-e', source]
  const { stdout } = await execa('setpriv', program, { env, extendEnv: false })
  expect(stdout).toBe(`${runtime}/withvm/locks`)
})
