import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { launchVM } from 'withvm'
import { recognizeText } from '../../../src/host/tesseract.js'
import { enlargeForReading } from '../../../src/vm/evidence/enlarge.js'
import { decodePng } from '../../../src/vm/evidence/picture.js'
import { writeDisplayDisk } from '../../support/display-disk.js'
import { failureOf } from '../../support/failure-of.js'
import { installWindowPackages } from '../../support/guest-packages.js'
import { startXServer, type XServer } from '../../support/x-server.js'

const folder = mkdtempSync(join(tmpdir(), 'withvm-windows-'))
const TEXT = 'Choose a language'
const bare = { memory: '32M', ssh: false, log: () => {} } as const
let hda: string

beforeAll(async () => {
  await installWindowPackages()
  hda = await writeDisplayDisk(join(folder, 'disk.img'), TEXT)
})
afterAll(() => rm(folder, { recursive: true }))

async function shows(screen: XServer, text: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const pgm = enlargeForReading(await decodePng(await screen.screenshot()))
        return pgm === undefined ? '' : recognizeText(pgm, 'eng', new AbortController().signal)
      },
      { timeout: 30_000, interval: 500 },
    )
    .toContain(text)
}

test.each(['gtk', 'sdl'] as const)(
  'a %s window on an X server shows the display of the guest',
  async (display) => {
    await using screen = await startXServer()
    vi.stubEnv('DISPLAY', screen.display)
    onTestFinished(() => void vi.unstubAllEnvs())
    const grab = display === 'sdl' ? ({ grab: 'right-ctrl' } as const) : {}
    await using vm = await launchVM({ ...bare, hda, display, ...grab })
    await shows(screen, TEXT)
    await vm.type('English', { layout: 'us' })
    await shows(screen, 'English')
  },
)

test('a window without an X server fails the start', async () => {
  vi.stubEnv('DISPLAY', undefined)
  onTestFinished(() => void vi.unstubAllEnvs())
  const error = await failureOf(launchVM({ ...bare, hda, display: 'gtk' }))
  expect(error).toMatchObject({ code: 'QEMU_FAILED' })
  expect(error.message).toContain(
    'QEMU did not start: there is no X11, Wayland or terminal display for its window.',
  )
})

test('display: curses draws the text screen on the terminal of the script', async () => {
  const main = resolve(import.meta.dirname, '../../../dist/fixtures/index.js')
  const options = { memory: '32M', ssh: false, hda, display: 'curses' }
  const shown = join(folder, 'shown')
  const program = `
    import { launchVM } from ${JSON.stringify(main)}
    import { setTimeout as sleep } from 'node:timers/promises'
    import { existsSync } from 'node:fs'
    const vm = await launchVM(${JSON.stringify(options)})
    while (!existsSync(${JSON.stringify(shown)})) await sleep(100)
    await vm.type('English', { layout: 'us' })
    await sleep(2000)
    await vm.dispose()`
  const words = [process.execPath, '--input-type=module', '-e', program].map(
    (word) => `'${word.replaceAll("'", "'\\''")}'`,
  )
  const script = execa('script', ['-qec', words.join(' '), '/dev/null'], {
    timeout: 60_000,
    reject: false,
    env: { TERM: 'xterm' },
  })
  let drawn = ''
  script.stdout.on('data', (chunk: Buffer) => {
    drawn += chunk.toString()
    if (drawn.includes(TEXT)) writeFileSync(shown, '')
  })
  const { stdout } = await script
  expect(stdout).toContain(TEXT)
  expect(stdout).toMatch(/E.*n.*g.*l.*i.*s.*h/)
})

test('display: curses is rejected in a process without a terminal', async () => {
  const error = await failureOf(launchVM({ ...bare, hda, display: 'curses' }))
  expect(error.message).toContain(
    "display: expected a process with a terminal, or `vnc: true`, got 'curses' in a process without a terminal",
  )
})
