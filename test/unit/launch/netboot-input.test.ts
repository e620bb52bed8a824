import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM, type NetbootOptions } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** Returns the problems that are reported before any start, one per line. */
async function refusal(netboot: NetbootOptions): Promise<string[]> {
  const tmpdir = ownTmpdir()
  const error = await failureOf(launchVM({ netboot, tmpdir }))
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  return error.message.split('\n').filter((line) => line.startsWith('  - '))
}

test('a missing `netboot.root` is rejected', async () => {
  expect(await refusal({ root: '/nowhere/at/all', bootfile: 'pxelinux.0' })).toEqual([
    '  - netboot.root: expected a readable folder, got "/nowhere/at/all", which does not exist',
  ])
})

test('the error for a missing boot file suggests a similar name', async () => {
  const root = ownTmpdir()
  writeFileSync(join(root, 'pxelinux.0'), '')
  expect(await refusal({ root, bootfile: 'pxelinux.O' })).toEqual([
    `  - netboot.bootfile: expected a file in ${root}, such as 'pxelinux.0', got "pxelinux.O", which does not exist`,
  ])
})

test('a folder with a link that leads outside is rejected', async () => {
  const root = ownTmpdir()
  writeFileSync(join(root, 'pxelinux.0'), '')
  symlinkSync('/etc/passwd', join(root, 'secret'))
  expect(await refusal({ root, bootfile: 'pxelinux.0' })).toEqual([
    `  - netboot.root: expected a folder without links that lead out of it (copy the linked files into the folder), got "${root}", which contains links that lead outside: secret -> /etc/passwd`,
  ])
})

test('a missing host file in `netboot.files` is rejected', async () => {
  expect(await refusal({ files: { linux: { path: '/nowhere/linux' } }, bootfile: 'linux' })).toEqual([
    `  - netboot.files['linux'].path: expected a readable file, got "/nowhere/linux", which does not exist`,
  ])
})

test('`vm.netboot` throws for a guest without network boot', async () => {
  await using vm = await launchVM({ ready: 'none', ssh: false, qemuArgs: ['-S'] })
  expect(() => vm.netboot).toThrow(
    `The guest '${vm.id}' does not use network boot, so \`vm.netboot\` is not available.`,
  )
})
