import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findUefi } from '../../../src/host/firmware.js'
import { failureOf } from '../../support/failure-of.js'
import { makeTemporaryDir } from './fake-program.js'

const REQUEST = { arch: 'aarch64', machine: 'virt', secureBoot: false }

/** Writes a descriptor, and the files that it names if `exists` is true. Returns the path of the code. */
function describe(dir: string, name: string, { exists }: { readonly exists: boolean }): string {
  const [code, vars] = ['code', 'vars'].map((part) => join(dir, `${name}.${part}`)) as [string, string]
  mkdirSync(join(dir, 'firmware'), { recursive: true })
  if (exists) for (const path of [code, vars]) writeFileSync(path, '')
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

test('`findUefi()` skips a descriptor whose files are missing', async () => {
  const dir = makeTemporaryDir()
  describe(dir, '10-missing', { exists: false })
  const code = describe(dir, '20-present', { exists: true })
  const found = await findUefi(REQUEST, { folders: [join(dir, 'firmware')] })
  expect(found.code).toEqual({ path: code, format: 'raw' })
  expect(
    (await findUefi({ ...REQUEST, machine: 'virt-7.2' }, { folders: [join(dir, 'firmware')] })).code,
  ).toEqual(found.code)
})

test('the error for a machine type without UEFI firmware suggests BIOS firmware or a kernel', async () => {
  const error = await failureOf(
    findUefi({ ...REQUEST, machine: 'raspi3b' }, { folders: [makeTemporaryDir()] }),
  )
  expect(error.hint).toBe(
    "Set `firmware: { type: 'bios', file }` to firmware for 'raspi3b', or boot a `kernel`.",
  )
})

test.each([
  ['aarch64', 'qemu-efi-aarch64'],
  ['arm', 'qemu-efi-arm'],
  ['x86_64', 'ovmf'],
])('the error for missing firmware for %s names its package', async (arch, debian) => {
  const dir = makeTemporaryDir()
  const osReleasePath = join(dir, 'os-release')
  writeFileSync(osReleasePath, 'ID=debian\n')
  const error = await failureOf(findUefi({ ...REQUEST, arch }, { folders: [dir], osReleasePath }))
  expect(error.code).toBe('FIRMWARE_NOT_FOUND')
  expect(error.hint).toBe(`Run \`sudo apt-get install -y --no-install-recommends ${debian}\`.`)
})
