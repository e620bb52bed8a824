import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { inspectHost } from '../../../../src/host/setup/inspect.js'
import { makePath, makeTemporaryDir, writeProgram } from '../fake-program.js'

test('`inspectHost()` notes that recipes do not work on a system without apt', async () => {
  const dir = makeTemporaryDir()
  const osReleasePath = join(dir, 'os-release')
  writeFileSync(osReleasePath, 'ID=fedora\nPRETTY_NAME="Fedora Linux 42"\n')
  const env = { ...process.env, WITHVM_CACHE: dir }
  const report = await inspectHost({ needs: [], fresh: false, env, osReleasePath })
  expect(report.canRunGuests).toBe(true)
  expect(report.checks).toContainEqual({
    id: 'recipes',
    label: 'Image recipes',
    state: 'note',
    found: 'recipes such as tiny need the packages of Debian or Ubuntu, and this host runs Fedora Linux 42',
    fix: 'Use the path of a disk image (qcow2, raw, vmdk …) instead.',
  })
})

test('a missing tool is a note, and a missing qemu-img is a problem', async () => {
  const dir = makeTemporaryDir()
  const qemu = { program: 'qemu-img', aptPackage: 'qemu-utils', why: 'creates and inspects disk images' }
  const other = { program: 'frobnicate', aptPackage: 'frob-tools', why: 'frobnicates images' }
  const env = { PATH: makePath(dir, {}), WITHVM_CACHE: dir }
  const { checks, canRunGuests } = await inspectHost({ needs: [other, qemu], fresh: false, env })
  const states = Object.fromEntries(checks.map(({ id, state }) => [id, state]))
  expect(states).toMatchObject({ qemu: 'problem', 'tool:frobnicate': 'note', 'tool:qemu-img': 'problem' })
  expect(canRunGuests).toBe(false)
})

test('`cacheBytes` is the disk usage of the cache, and 0 for a missing cache', async () => {
  const dir = makeTemporaryDir()
  const path = makePath(dir, {})
  writeProgram(join(dir, 'image'), 'x'.repeat(100_000))
  const inspect = (WITHVM_CACHE: string) =>
    inspectHost({ needs: [], fresh: false, env: { PATH: path, WITHVM_CACHE } })
  const full = await inspect(dir)
  expect(full.facts.cacheBytes).toBeGreaterThanOrEqual(100_000)
  expect(full.facts.cacheBytes).toBeLessThan(400_000)
  const { facts } = await inspect(join(dir, 'not', 'there', 'yet'))
  expect(facts).toMatchObject({ cacheBytes: 0, cacheDir: join(dir, 'not', 'there', 'yet') })
  expect(facts.freeCacheBytes).toBeGreaterThan(0)
})
