import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { nameEntry } from '../../../src/cache/cache.js'
import { hasEarlierUsers } from '../../../src/cache/entry-store.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import type { MachineHost, RunSettings } from '../../../src/vm/machine/guest-plan.js'
import { identifyFiles } from '../../../src/warm/input-files.js'
import { startWarm } from '../../../src/warm/start-warm.js'
import { describeTemplate } from '../../../src/warm/template-fingerprint.js'
import { listTemplates, markUsed, pruneTemplates, removeTemplates } from '../../../src/warm/template-store.js'
import { buildCli, runCli } from '../../support/built-cli.js'
import { failureOf } from '../../support/failure-of.js'
import { ownCache } from '../../support/own-cache.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { SAMPLE_IMAGE } from '../../support/sample-machine.js'

const MODULE = new URL('../../../dist/src/warm/template-store.js', import.meta.url).href
const MIB = 1024 ** 2

const HOST: MachineHost = {
  qemu: {
    path: '/nowhere',
    version: { major: 7, minor: 2, micro: 0, text: '7.2.0' },
    arch: 'x86_64',
    fingerprint: '1',
  },
  hasSandbox: true,
  accelerator: 'tcg',
  timeFactor: 1,
}
const RUN: RunSettings = {
  tmpdir: undefined,
  artifacts: false,
  memoryDump: false,
  keepMs: undefined,
  signal: undefined,
  log: () => {},
  importReport: { replacedArguments: [], skippedSettings: [] },
  standby: false,
}

beforeAll(buildCli)

/** Makes large templates without content, the first one least recently used. */
function makeTemplates(...names: string[]): string {
  const cacheDir = ownTmpdir()
  names.forEach((name, index) => {
    const dir = join(cacheDir, 'templates', name)
    mkdirSync(dir, { recursive: true })
    writeFileSync(join(dir, 'memory'), Buffer.alloc(MIB, 1))
    const used = new Date(Date.now() - (names.length - index) * 60_000)
    utimesSync(dir, used, used)
  })
  return cacheDir
}

const namesIn = async (cacheDir: string) => (await listTemplates(cacheDir)).map(({ name }) => name)

/** Starts another process that uses a template until it is killed. */
async function useElsewhere(name: string, cacheDir: string) {
  const source = `
    const { markUsed } = await import('${MODULE}')
    await markUsed('${name}', '${cacheDir}')
    console.log('marked')
    setInterval(() => {}, 1000)`
  const user = execa(process.execPath, ['--input-type=module', '-e', source], { reject: false })
  await new Promise((resolve) => user.stdout.once('data', resolve))
  return { user }
}

test('templates are listed with their size, most recently used first', async () => {
  const cacheDir = makeTemplates('a', 'b')
  expect(await listTemplates(cacheDir)).toEqual([
    { name: 'b', bytes: MIB, lastUsed: expect.any(Date), isInUse: false },
    { name: 'a', bytes: MIB, lastUsed: expect.any(Date), isInUse: false },
  ])
  await markUsed('a', cacheDir)
  expect(await namesIn(cacheDir)).toEqual(['a', 'b'])
  expect(await listTemplates(ownTmpdir())).toEqual([])
})

test('pruning removes the least recently used templates first, and no more than necessary', async () => {
  const cacheDir = makeTemplates('a', 'b', 'c', 'd')
  expect(await pruneTemplates({ cacheDir, maxBytes: 2.5 * MIB })).toEqual(['a', 'b'])
  expect(await namesIn(cacheDir)).toEqual(['d', 'c'])
  expect(await pruneTemplates({ cacheDir, maxBytes: 2.5 * MIB })).toEqual([])
})

test('pruning never removes the template that was just made, whatever its size', async () => {
  const cacheDir = makeTemplates('a', 'b')
  expect(await pruneTemplates({ cacheDir, maxBytes: 0, keep: 'a' })).toEqual(['b'])
})

test('a template in use stays until its process has ended, even by SIGKILL', async () => {
  const cacheDir = makeTemplates('a', 'b')
  const { user } = await useElsewhere('a', cacheDir)
  expect((await listTemplates(cacheDir)).find(({ name }) => name === 'a')?.isInUse).toBe(true)
  expect(await pruneTemplates({ cacheDir, maxBytes: 0 })).toEqual(['b'])
  const error = await failureOf(removeTemplates(['a'], cacheDir))
  expect(error.code).toBe('TEMPLATE_IN_USE')
  expect(existsSync(join(cacheDir, 'templates', 'a', 'memory'))).toBe(true)
  user.kill('SIGKILL')
  await user
  await removeTemplates(['a'], cacheDir)
  expect(await namesIn(cacheDir)).toEqual([])
  expect(readdirSync(join(cacheDir, 'templates', '.users'))).toEqual([])
})

test('a changed template that another process already used stays in place, and the guest boots cold', async () => {
  const cacheDir = ownCache(ownTmpdir())
  const spec = resolveSpec({ standby: false }, SAMPLE_IMAGE)
  const entry = nameEntry('tiny', describeTemplate(spec, HOST, await identifyFiles(spec, HOST)))
  const { user } = await useElsewhere(entry, cacheDir)
  const root = join(cacheDir, 'templates')
  mkdirSync(join(root, entry))
  writeFileSync(join(root, entry, 'disk.qcow2'), 'changed')
  expect(await startWarm({ name: 'tiny-123456', spec, host: HOST, steps: [], run: RUN })).toEqual({
    name: 'tiny-123456',
    coldReason: `its template could not be saved: The template '${entry}' was changed while other guests use it`,
  })
  expect(readdirSync(join(root, entry))).toEqual(['disk.qcow2'])
  user.kill('SIGKILL')
  await user
  // A process that starts after the change has no guest of this template: it may make it again.
  const { user: later } = await useElsewhere(entry, cacheDir)
  expect(await hasEarlierUsers(root, entry)).toBe(false)
  later.kill('SIGKILL')
})

test('removing an unknown template is an error, and nothing is removed', async () => {
  const cacheDir = makeTemplates('tiny-0123', 'tiny-4567')
  const error = await failureOf(removeTemplates(['tiny-4567', 'tiny-0124'], cacheDir))
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(error.message).toContain("'tiny-0123'")
  expect(await namesIn(cacheDir)).toHaveLength(2)
})

test('`withvm templates` lists and removes templates', async () => {
  const cacheDir = makeTemplates('tiny-0123', 'tiny-4567')
  const run = (...args: string[]) => runCli(['templates', ...args], { WITHVM_CACHE: cacheDir })
  const { stdout } = await run('ls')
  expect(stdout.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, 'TIME')).toBe(
    [
      'NAME             SIZE  LAST USED (UTC)',
      'tiny-4567       1 MiB  TIME',
      'tiny-0123       1 MiB  TIME',
      '',
      '2 templates, 2 MiB',
    ].join('\n'),
  )
  expect(JSON.parse((await run('ls', '--json')).stdout)).toHaveLength(2)
  expect((await run('rm', 'tiny-0123')).exitCode).toBe(0)
  expect(await run('prune', '--max-size', 'much')).toMatchObject({ exitCode: 2 })
  expect((await run('prune', '--max-size', '2M')).stdout).toBe('No entries were removed.')
  expect((await run('prune')).stdout).toBe('Removed tiny-4567.')
  expect((await run('ls')).stdout).toBe(
    'No templates are cached: the first warm start of a guest configuration builds one.',
  )
})
