import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { readLeases, withLeaseLock, writeLeaseNamed } from '../../../src/budget/lease-files.js'
import { buildCli } from '../../support/built-cli.js'
import { ownPool } from '../../support/own-pool.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { passTime } from '../../support/pass-time.js'

const LEASE_FILES = resolve(import.meta.dirname, '../../../dist/src/budget/lease-files.js')

beforeAll(buildCli)

test('a container that was killed while it changed the leases does not block other processes', async () => {
  ownPool()
  const source = `
    import { withLeaseLock } from '${LEASE_FILES}'
    await withLeaseLock(() => { console.log('in'); setInterval(() => {}, 1000); return new Promise(() => {}) })`
  const container = ['--pid', '--fork', '--mount-proc', '--kill-child', process.execPath]
  const killed = execa('unshare', [...container, '--input-type=module', '-e', source], { reject: false })
  onTestFinished(() => void killed.kill('SIGKILL'))
  await new Promise((resolve) => killed.stdout.once('data', resolve))
  killed.kill('SIGKILL')
  await killed
  const startedAt = performance.now()
  await withLeaseLock(async () => {}, undefined)
  expect(performance.now() - startedAt).toBeLessThan(2000)
})

test('entries of an earlier boot or of another container are swept after a second check', async () => {
  const runtime = ownTmpdir()
  ownPool({ XDG_RUNTIME_DIR: runtime })
  const pass = passTime()
  expect(readLeases()).toEqual([])
  const folder = join(runtime, 'withvm', readdirSync(join(runtime, 'withvm'))[0] as string)
  const [old, fresh] = ['old~aaaaaaaa.1.1', 'fresh~bbbbbbbb.1.1'] as const
  for (const name of [old, fresh]) writeFileSync(join(folder, name), '')
  const longAgo = new Date(Date.now() - 60 * 60_000)
  utimesSync(join(folder, old), longAgo, longAgo)
  const entry = await writeLeaseNamed('own')
  expect(readdirSync(folder)).toContain(old)
  pass(41_000)
  expect(readdirSync(folder).sort()).toEqual([fresh, expect.stringMatching(/^own~/)])
  await entry.release()
  expect(readdirSync(folder)).toEqual([fresh])
})
