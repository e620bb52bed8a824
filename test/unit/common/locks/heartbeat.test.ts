import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { type Heartbeat, keepFileTouched } from '../../../../src/common/locks/heartbeat.js'
import { openWorkspace } from '../../../../src/vm/workspace/workspace.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const BEAT_MS = 15_000
const longAgo = new Date(0)

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
})

/** Makes a file that is touched by heartbeats. Returns its path. */
function touchedFile(): string {
  const path = join(ownTmpdir(), 'claim')
  const heartbeat = keepFileTouched(path)
  onTestFinished(() => heartbeat.stop())
  return path
}

const mtimeOf = (path: string) => statSync(path).mtimeMs

/** Advances the timers until the file or folder was touched. */
async function untilTouched(path: string): Promise<void> {
  utimesSync(path, longAgo, longAgo)
  const beat = () => {
    vi.advanceTimersByTime(BEAT_MS)
    return mtimeOf(path)
  }
  await expect.poll(beat).toBeGreaterThan(0)
}

test('each heartbeat touches a file with the clock of its file system, until it is stopped', async () => {
  const path = join(ownTmpdir(), 'claim')
  const heartbeat: Heartbeat = keepFileTouched(path, { isNew: true })
  const other = touchedFile()
  vi.setSystemTime(longAgo)
  await untilTouched(path)
  await untilTouched(path)
  heartbeat.stop()
  heartbeat.stop()
  await untilTouched(other) // the last beat of the first file has ended then
  utimesSync(path, longAgo, longAgo)
  await untilTouched(other)
  expect(mtimeOf(path)).toBe(0)
  expect(() => keepFileTouched(path, { isNew: true })).toThrow('EEXIST')
})

test('a file or FIFO in place of a touched file is neither truncated nor opened, and a link is not followed', async () => {
  const [file, fifo, link] = [touchedFile(), touchedFile(), touchedFile()] as const
  const secret = join(ownTmpdir(), 'secret')
  writeFileSync(secret, 'of another')
  for (const path of [file, fifo, link]) renameSync(path, `${path}-moved`)
  writeFileSync(file, 'of another')
  execFileSync('mkfifo', [fifo])
  symlinkSync(secret, link)
  for (const path of [file, secret]) utimesSync(path, longAgo, longAgo)
  for (const path of [file, fifo, link]) await untilTouched(`${path}-moved`)
  for (const path of [file, secret]) {
    expect(readFileSync(path, 'utf8')).toBe('of another')
    expect(mtimeOf(path)).toBe(0)
  }
})

test.each([
  ['a FIFO', (path: string) => void execFileSync('mkfifo', [path])],
  ['a link', (path: string, victim: string) => symlinkSync(victim, path)],
])(
  '%s in place of the folder of a run is not touched and does not block file operations',
  async (_, make) => {
    const victim = join(ownTmpdir(), 'victim')
    mkdirSync(victim)
    utimesSync(victim, longAgo, longAgo)
    const workspace = await openWorkspace(ownTmpdir())
    onTestFinished(() => workspace.dispose())
    const moved = `${workspace.dir}-moved`
    renameSync(workspace.dir, moved)
    make(workspace.dir, victim)
    // Each blocked operation uses one of the four threads of libuv.
    for (let beat = 0; beat < 5; beat++) await untilTouched(moved)
    expect(await readFile('/proc/self/comm', 'utf8')).not.toBe('')
    expect(mtimeOf(victim)).toBe(0)
  },
)
