import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type LogRange, readConsoleLog } from '../../../src/cli/guests/console-log.js'
import { plainLines } from '../../../src/cli/guests/logs.js'
import { newRunFolderName } from '../../../src/common/locks/run-folder-name.js'
import type { RunningGuest } from '../../../src/vm/workspace/running-guests.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Makes the run folder of a guest of this process, with a console log. */
function makeGuest(log: string, name = newRunFolderName()) {
  const dir = join(ownTmpdir(), name)
  mkdirSync(dir)
  writeFileSync(join(dir, 'serial.log'), log)
  return { dir } as RunningGuest
}

async function read(guest: RunningGuest, range?: LogRange): Promise<string> {
  let text = ''
  for await (const bytes of readConsoleLog(guest, range)) text += bytes
  return text
}

test('the last lines of a console log are found across blocks', async () => {
  const long = `${'x'.repeat(100_000)}\n`
  expect(await read(makeGuest('a\nb\nc\n'), { lastLines: 2 })).toBe('b\nc\n')
  expect(await read(makeGuest('a\nb\nc'), { lastLines: 1 })).toBe('c')
  expect(await read(makeGuest(`a\n${long}${long}b\n`), { lastLines: 3 })).toBe(`${long}${long}b\n`)
  expect(await read(makeGuest('a\nb\n'), { lastLines: 9 })).toBe('a\nb\n')
  expect(await read(makeGuest('abcdef'), { lastBytes: 2 })).toBe('ef')
})

test('a console log is followed until the guest and its log are removed', async () => {
  const guest = makeGuest('first\n')
  const reading = read(guest, { follow: true })
  setTimeout(() => appendFileSync(join(guest.dir, 'serial.log'), 'second\n'), 150)
  setTimeout(() => rmSync(guest.dir, { recursive: true }), 300)
  expect(await reading).toBe('first\nsecond\n')
})

test('a console log whose test process and keeper are dead is complete', async () => {
  const dead = newRunFolderName().replace(/\.[0-9a-z]+-/, '.1-')
  expect(await read(makeGuest('all\n', dead), { follow: true })).toBe('all\n')
})

test('following a console log ends when its signal aborts', async () => {
  const signal = AbortSignal.timeout(200)
  expect(await read(makeGuest('a'), { follow: true, signal })).toBe('a')
})

test('console output is shown on a terminal as plain lines, without controls', () => {
  const format = plainLines()
  const shown = [
    'a\u001b[2J\u001b]0;title\u0007b\r\nc\u009b31m',
    '\u202ed\u0007\n\u001b[',
    '31mred\u001b[0m\n',
  ].map((text) => format(Buffer.from(text)))
  expect(shown.join('')).toBe('ab\nc31m\\u202ed\nred\n')
})
