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

shown('toShowText waits for the text that tesseract recognizes on the display', async ({ vm }) => {
  await expect(vm).toShowText(/^Choose a language: English, Deutsch$/m)
  await expect(vm).not.toShowText('Invalid')
  setTimeout(() => void vm.type('English it is', { layout: 'us' }), 300)
  await expect(vm).toShowText('English it is')
})

shown(
  'a failed toShowText reports the recognized text, and saves the screenshot with the logs',
  async ({ vm }) => {
    const message = await matcherMessage(expect(vm).toShowText('Nederlands', { timeout: '4s' }))
    expect(message).toMatch(
      /^expect\(vm\)\.toShowText\('Nederlands', \{ timeout: '4s' \}\) failed after TIME\n/,
    )
    expect(message).toContain('Expected: the display to show "Nederlands"\n  Received: SeaBIOS (version')
    expect(message).toContain('Choose a language: English, Deutsch\n')
    const [, file] = /^Screenshot, in the guest's logs:\n {2}\| (seen-\d+\.png)$/m.exec(message) ?? []
    const logs = await vm.saveLogs(folder)
    const { width, height } = PNG.sync.read(await readFile(join(logs, file as string)))
    expect({ width, height }).toEqual({ width: 720, height: 400 })
  },
)

shown('missing language data of tesseract is an error that names its package', async ({ vm }) => {
  const error = await failureOf(expect(vm).toShowText('x', { language: 'nld' }))
  expect(error).toMatchObject({ code: 'TOOL_NOT_FOUND', kind: 'infrastructure' })
  expect(error.message).toContain('package tesseract-ocr-nld')
})

test('toShowText rejects a guest without a display at once', async () => {
  await using vm = await launchVM({ hda, memory: '32M', ssh: false, log: () => {} })
  const error = await failureOf(expect(vm).toShowText('x'))
  expect(error).toMatchObject({ code: 'DISPLAY_UNAVAILABLE', kind: 'usage' })
})

/** In CI, the test compares with a screenshot that does not exist. */
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

  test('the first run writes the screenshots, and later calls compare with them', async () => {
    const message = await run()
    expect(message).toMatch(
      /Expected: the display to equal __screenshots__\/demo\.test\.ts\/menu-1\.png\n {2}Received: \d+ of 288000 pixels \(0\.\d+ %\) differ, allowed: 0; no new content for /,
    )
    expect(message).toContain('Differences, in red:\n  | __screenshots__/demo.test.ts/menu-1.diff.png')
    expect(message).toContain('Fix: If the new display is correct, run Vitest with --update.')
    expect(await screenshots()).toEqual(['menu-1.actual.png', 'menu-1.diff.png', 'menu-1.png'])

    expect(await run({ CI: 'true' })).toContain('no such screenshot; in CI, none is written')
    expect(await screenshots()).toEqual(['menu-1.png'])
  })
})

test('invalid options of toMatchScreenshot are rejected', async () => {
  const vm = {} as never
  const message = (assertion: Promise<unknown>) => matcherMessage(assertion)
  expect(await message(expect(vm).toMatchScreenshot('menu', { tolerance: 3 }))).toMatchInlineSnapshot(`
    "expect(vm).toMatchScreenshot('menu', { tolerance: 3 }) has an invalid option.
      Expected: a tolerance from 0 to 1
      Got:      3
    Fix: Correct this option."
  `)
  expect(await message(expect(vm).not.toMatchScreenshot())).toContain('Got:      .not')
})
