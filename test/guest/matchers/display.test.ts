import { mkdtempSync, rmSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PNG } from 'pngjs'
import { afterAll, beforeAll, describe } from 'vitest'
import { launchVM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { writeDisplayDisk } from '../../support/display-disk.js'
import { failureOf } from '../../support/failure-of.js'
import { guestTest } from '../../support/guest-test.js'
import { matcherMessage } from '../../support/matcher-messages.js'
import { type NestedProject, nestedProject } from '../../support/nested-vitest.js'

const folder = mkdtempSync(join(tmpdir(), 'withvm-shows-'))
const hda = await writeDisplayDisk(join(folder, 'disk.img'), 'Choose a language: English, Deutsch')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const shown = guestTest({ name: 'shown', hda, memory: '32M', vga: 'std', ssh: false })

shown('toShowText waits for what tesseract reads off the display', async ({ vm }) => {
  await expect(vm).toShowText(/^Choose a language: English, Deutsch$/m)
  await expect(vm).not.toShowText('Invalid')
  setTimeout(() => void vm.type('English it is', { layout: 'us' }), 300)
  await expect(vm).toShowText('English it is')
})

shown('what it has read is in its message, and what it has seen among the logs', async ({ vm }) => {
  const message = await matcherMessage(expect(vm).toShowText('Nederlands', { timeout: '4s' }))
  expect(message).toMatch(
    /^expect\(vm\)\.toShowText\('Nederlands', \{ timeout: '4s' \}\) failed after TIME\n/,
  )
  expect(message).toContain('Expected: the display to show "Nederlands"\n  Received: SeaBIOS (version')
  expect(message).toContain('Choose a language: English, Deutsch\n')
  expect(message).toContain('The display, among the logs of the guest:\n  | seen-1.png\n')
  const logs = await vm.saveLogs(folder)
  const { width, height } = PNG.sync.read(await readFile(join(logs, 'seen-1.png')))
  expect({ width, height }).toEqual({ width: 720, height: 400 })
})

shown('data of tesseract that is not there is an error with its package', async ({ vm }) => {
  const error = await failureOf(expect(vm).toShowText('x', { language: 'nld' }))
  expect(error).toMatchObject({ code: 'TOOL_NOT_FOUND', kind: 'infrastructure' })
  expect(error.message).toContain('the package tesseract-ocr-nld')
})

test('a text of a guest without a display is a mistake, told at once', async () => {
  await using vm = await launchVM({ hda, memory: '32M', ssh: false, log: () => {} })
  const error = await failureOf(expect(vm).toShowText('x'))
  expect(error).toMatchObject({ code: 'DISPLAY_UNAVAILABLE', kind: 'usage' })
})

/** In CI one screenshot is asked for that nobody has kept. */
const TESTS = `
import { launchVM } from 'withvm'
import { expect, test } from 'withvm/vitest'

const mask = [{ x: 0, y: 0, width: 720, height: 32 }]
test('menu', async () => {
  await using vm = await launchVM({
    hda: process.env.DISK, memory: '32M', vga: 'std', ssh: false, log: () => {},
  })
  await expect(vm).toShowText('Choose')
  await expect(vm).toMatchScreenshot({ mask })
  await expect(vm).toMatchScreenshot('menu-1', { mask, tolerance: 0.01 })
  await vm.type('other', { layout: 'us' })
  await expect(vm).toMatchScreenshot('menu-1', { mask, tolerance: 0.01 })
  if (process.env.CI !== '') await expect(vm).toMatchScreenshot('not there')
  await expect(vm).toMatchScreenshot('menu-1', { mask, timeout: '1s' })
})
`

describe('toMatchScreenshot', () => {
  let project: NestedProject
  const run = async (env = {}) => {
    const [result] = await project.run([], { DISK: hda, ...env })
    expect(result?.status).toBe('failed')
    return result?.failureMessages[0] ?? ''
  }
  const screenshots = () => readdir(join(project.folder, '__screenshots__/demo.test.ts'))
  beforeAll(() => {
    project = nestedProject('testTimeout: 60_000')
    project.write('demo.test.ts', TESTS)
  })
  afterAll(() => project[Symbol.dispose]())

  test('keeps what is there first, and compares with it', async () => {
    const message = await run()
    expect(message).toMatch(
      /Expected: the display of __screenshots__\/demo\.test\.ts\/menu-1\.png\n {2}Received: \d+ of 288000 pixels \(0\.\d+ %\) differ, where none may; nothing new was shown for /,
    )
    expect(message).toContain('What differs, in red:\n  | __screenshots__/demo.test.ts/menu-1.diff.png')
    expect(message).toContain('Fix: where the display is as it is meant to be now, run Vitest with --update.')
    expect(await screenshots()).toEqual(['menu-1.actual.png', 'menu-1.diff.png', 'menu-1.png'])

    expect(await run({ CI: 'true' })).toContain('no such screenshot, and in CI none is written')
    expect(await screenshots()).toEqual(['menu-1.png'])
  })
})

test('options of toMatchScreenshot that mean nothing are refused', async () => {
  const vm = {} as never
  const message = (assertion: Promise<unknown>) => matcherMessage(assertion)
  expect(await message(expect(vm).toMatchScreenshot('menu', { tolerance: 3 }))).toMatchInlineSnapshot(`
    "expect(vm).toMatchScreenshot('menu', { tolerance: 3 }) got an option that it cannot use.
      Expected: a tolerance from 0 to 1
      Got:      3
    Fix: correct it."
  `)
  expect(await message(expect(vm).not.toMatchScreenshot())).toContain('Got:      .not')
})
