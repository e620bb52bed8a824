import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM, type NetbootOptions } from 'withvm'
import { failureOf } from '../../support/failure-of.js'
import { findLeftovers, NOTHING } from '../../support/leftovers.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

/** What is said before anything is started, a line each. */
async function refusal(netboot: NetbootOptions): Promise<string[]> {
  const tmpdir = ownTmpdir()
  const error = await failureOf(launchVM({ netboot, tmpdir }))
  expect(error.code).toBe('INVALID_OPTIONS')
  expect(findLeftovers(tmpdir)).toEqual(NOTHING)
  return error.message.split('\n').filter((line) => line.startsWith('  - '))
}

test('a folder that is not there', async () => {
  expect(await refusal({ root: '/nowhere/at/all', bootfile: 'pxelinux.0' })).toEqual([
    '  - netboot.root: expected a folder that can be read, got "/nowhere/at/all", which does not exist',
  ])
})

test('a boot file that is not there', async () => {
  const root = ownTmpdir()
  writeFileSync(join(root, 'pxelinux.0'), '')
  expect(await refusal({ root, bootfile: 'pxelinux.O' })).toEqual([
    `  - netboot.bootfile: expected a file below it, such as 'pxelinux.0', got "pxelinux.O", which is not in ${root}`,
  ])
})

test('a link that leads out of the folder', async () => {
  const root = ownTmpdir()
  writeFileSync(join(root, 'pxelinux.0'), '')
  symlinkSync('/etc/passwd', join(root, 'secret'))
  expect(await refusal({ root, bootfile: 'pxelinux.0' })).toEqual([
    `  - netboot.root: expected a folder whose links stay within it: copy those files into it, got "${root}", from which links lead outside: secret -> /etc/passwd`,
  ])
})

test('a file of the host that is not there', async () => {
  expect(await refusal({ files: { linux: { path: '/nowhere/linux' } }, bootfile: 'linux' })).toEqual([
    `  - netboot.files['linux'].path: expected a file that can be read, got "/nowhere/linux", which does not exist`,
  ])
})

test('vm.netboot of a guest that is given nothing by the network', async () => {
  await using vm = await launchVM({ ready: 'none', ssh: false, qemuArgs: ['-S'] })
  expect(() => vm.netboot).toThrow("The guest 'tiny' is given nothing by the network.")
})
