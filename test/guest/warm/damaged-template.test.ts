import { openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchVM, withVM } from 'withvm'
import { buildCli } from '../../support/built-cli.js'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownTemplates, templatesIn } from '../../support/own-templates.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { runScript } from '../../support/run-script.js'

const options = { image: 'tiny', standby: false, log: () => {} } as const

beforeAll(buildCli)

/** Starts a guest, asserts that it works, and returns how it was started. */
function start(more: object = {}) {
  return withVM({ ...options, ...more }, async (vm) => {
    expect((await vm.ssh`cat /etc/os-release`).stdout).toContain('withvm tiny')
    return vm.startedFrom
  })
}

function flipByte(path: string, position: number): void {
  const file = openSync(path, 'r+')
  const found = readFileSync(path).at(position) ?? 0
  writeSync(file, Buffer.from([found ^ 0x40]), 0, 1, position)
}

/** Two of the damages that the unit tests of the cache cover: one that its size and one that only its times show. */
const DAMAGES: Readonly<Record<string, (template: string) => void>> = {
  'a flipped bit in the RAM': (template) => flipByte(join(template, 'memory'), 24 * 1024 ** 2),
  'a missing file': (template) => rmSync(join(template, 'overlay.qcow2')),
}

test('a damaged template is built again', async () => {
  const cacheDir = ownTemplates()
  await start()
  for (const [what, damage] of Object.entries(DAMAGES)) {
    damage(templatesIn(cacheDir)[0] ?? '')
    expect(await start(), what).toEqual({
      kind: 'template',
      template: expect.any(String),
      buildMs: expect.any(Number),
    })
    expect(await start(), what).toMatchObject({ buildMs: undefined })
  }
}, 600_000)

test('a template whose state QEMU rejects is built again, and the log reports it', async () => {
  const cacheDir = ownTemplates()
  await start()
  const [template = ''] = templatesIn(cacheDir)
  // The manifest matches the damaged content.
  const state = readFileSync(join(template, 'state')).fill(0x55, 8, 4096)
  writeFileSync(join(template, 'state'), state)
  await updateManifest(template)
  const lines: string[] = []
  expect(await start({ log: (line: string) => lines.push(line) })).toMatchObject({
    kind: 'template',
    buildMs: expect.any(Number),
  })
  expect(lines.join('\n')).toMatch(/The template tiny-\w+ is made again: /)
})

/** Updates the manifest to match the changed files, unlike accidental damage. */
async function updateManifest(template: string): Promise<void> {
  const path = join(template, 'manifest.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8'))
  const { stdout } = await execa(
    'sh',
    ['-c', 'sha256sum state; stat -c %z state; date -d "$(stat -c %z state)" +%s%N'],
    {
      cwd: template,
    },
  )
  const [sum = '', , changedNs = ''] = stdout.split('\n')
  manifest.files.state = { ...manifest.files.state, sha256: sum.split(' ')[0], changedNs }
  writeFileSync(path, JSON.stringify(manifest))
}

test('a process that is killed while it builds a template does no damage, and the next start removes its files', async () => {
  const cacheDir = ownTemplates()
  const tmpdir = ownTmpdir()
  for (const afterMs of [900, 2200, 3000]) {
    const script = runScript(tmpdir, `await withVM({ log: () => {} }, () => {})`)
    await sleep(afterMs)
    script.kill('SIGKILL')
    await script
  }
  await runScript(tmpdir, `await withVM({ log: () => {} }, () => {})`)
  expect(await start()).toMatchObject({ kind: 'template', buildMs: undefined })
  expect(templatesIn(cacheDir)).toHaveLength(1)
  await expect.poll(() => findLeftovers(tmpdir), { timeout: 2000 }).toEqual(NOTHING)
}, 400_000)

test('concurrent processes that need the same template build it once', async () => {
  const cacheDir = ownTemplates()
  const tmpdir = ownTmpdir()
  const source = `
    const lines = []
    await withVM({ log: () => {} }, (vm) => console.log(JSON.stringify(vm.startedFrom)))`
  const runs = await Promise.all([1, 2, 3, 4].map((run) => runScript(tmpdir, source, `run-${run}`)))
  const starts = runs.map(({ stdout }) => JSON.parse(String(stdout)))
  expect(starts.map(({ kind }) => kind)).toEqual(Array(4).fill('template'))
  expect(starts.filter(({ buildMs }) => buildMs !== undefined)).toHaveLength(1)
  expect(templatesIn(cacheDir)).toHaveLength(1)
}, 400_000)

test('a guest boots cold if there is no space for its template, and the reason is reported', async () => {
  const cacheDir = ownTmpdir()
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'none', cacheDir])
  onTestFinished(async () => void (await execa('umount', ['-l', cacheDir])))
  ownTemplates(cacheDir)
  const lines: string[] = []
  expect(await start({ memory: '255M', log: (line: string) => lines.push(line) })).toMatchObject({
    kind: 'cold',
    reason: expect.stringContaining('The disk is full'),
  })
  expect(lines.join('\n')).toMatch(/'tiny-[0-9a-f]{6}' is booted cold: /)
  expect(templatesIn(cacheDir)).toEqual([])
})

test('a disk that fills up while a template is built affects only that template', async () => {
  const cacheDir = ownTmpdir()
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=260m', 'none', cacheDir])
  onTestFinished(async () => void (await execa('umount', ['-l', cacheDir])))
  ownTemplates(cacheDir)
  const filler = join(cacheDir, 'filler')
  // Each guest has another size, because a failed template is not retried in the same process.
  const moments = { '189M': 1500, '190M': 2500 }
  for (const [memory, afterMs] of Object.entries(moments)) {
    const starting = start({ memory })
    await sleep(afterMs)
    expect(() => writeFileSync(filler, Buffer.alloc(280 * 1024 ** 2))).toThrow('ENOSPC')
    const { kind } = await starting
    rmSync(filler)
    if (kind === 'template') rmSync(templatesIn(cacheDir)[0] ?? '', { recursive: true })
    else expect(templatesIn(cacheDir)).toEqual([])
  }
  expect(await start({ memory: '192M' })).toMatchObject({ kind: 'template', buildMs: expect.any(Number) })
}, 300_000)

test("a failed boot of a template's guest is reported like any other failed boot", async () => {
  ownTemplates()
  await expect(
    launchVM({ ...options, append: 'init=/nowhere panic=0 root=/dev/none rdinit=/nowhere' }),
  ).rejects.toMatchObject({
    code: 'GUEST_PANICKED',
  })
})
