import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openRuntimeDir } from '../../../../src/common/locks/runtime-dir.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

let count = 0

/** Opens a part of its own, so that nothing is known of it from another test. */
function openIn(runtime: string): string | undefined {
  return openRuntimeDir(`test-${process.pid}-${count++}`, { XDG_RUNTIME_DIR: runtime })
}

test('the folder for locks is in XDG_RUNTIME_DIR, for this user alone', () => {
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

test.each(squats)('%s in its place is passed over', (_, squat) => {
  const runtime = ownTmpdir()
  squat(join(runtime, 'withvm'))
  expect(openIn(runtime)).not.toContain(runtime)
})

test('a parent folder in which others can rename it is passed over', () => {
  const runtime = ownTmpdir()
  chmodSync(runtime, 0o777)
  expect(openIn(runtime)).not.toContain(runtime)
})
