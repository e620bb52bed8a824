import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findUefi } from '../../../src/host/firmware.js'
import { failureOf } from '../../support/failure-of.js'
import { makeTemporaryDir } from './fake-program.js'

const WISH = { arch: 'aarch64', machine: 'virt', secureBoot: false }

/** A folder with a descriptor, and with the files that it names where they are said to be there. */
function describe(dir: string, name: string, { isThere }: { readonly isThere: boolean }): string {
  const [code, vars] = ['code', 'vars'].map((part) => join(dir, `${name}.${part}`)) as [string, string]
  mkdirSync(join(dir, 'firmware'), { recursive: true })
  if (isThere) for (const path of [code, vars]) writeFileSync(path, '')
  const descriptor = {
    'interface-types': ['uefi'],
    mapping: {
      device: 'flash',
      executable: { filename: code, format: 'raw' },
      'nvram-template': { filename: vars, format: 'raw' },
    },
    targets: [{ architecture: 'aarch64', machines: ['virt-*'] }],
    features: [],
  }
  writeFileSync(join(dir, 'firmware', `${name}.json`), JSON.stringify(descriptor))
  return code
}

test('firmware whose files are not there is passed over, whatever its descriptor says', async () => {
  const dir = makeTemporaryDir()
  describe(dir, '10-missing', { isThere: false })
  const code = describe(dir, '20-there', { isThere: true })
  const found = await findUefi(WISH, { folders: [join(dir, 'firmware')] })
  expect(found.code).toEqual({ path: code, format: 'raw' })
  expect(
    (await findUefi({ ...WISH, machine: 'virt-7.2' }, { folders: [join(dir, 'firmware')] })).code,
  ).toEqual(found.code)
})

test('a machine that no UEFI firmware supports is told what it can have', async () => {
  const error = await failureOf(findUefi({ ...WISH, machine: 'raspi3b' }, { folders: [makeTemporaryDir()] }))
  expect(error.hint).toBe(
    "Set `firmware: { type: 'bios', file }` to firmware for 'raspi3b', or boot a `kernel`.",
  )
})

test.each([
  ['aarch64', 'qemu-efi-aarch64'],
  ['arm', 'qemu-efi-arm'],
  ['x86_64', 'ovmf'],
])('missing firmware for %s is told with its package', async (arch, debian) => {
  const dir = makeTemporaryDir()
  const osReleasePath = join(dir, 'os-release')
  writeFileSync(osReleasePath, 'ID=debian\n')
  const error = await failureOf(findUefi({ ...WISH, arch }, { folders: [dir], osReleasePath }))
  expect(error.code).toBe('FIRMWARE_NOT_FOUND')
  expect(error.hint).toBe(`run \`sudo apt-get install -y --no-install-recommends ${debian}\`.`)
})
