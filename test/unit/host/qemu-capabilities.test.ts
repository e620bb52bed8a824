import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findQemu } from '../../../src/host/qemu-binary.js'
import { queryCapabilities } from '../../../src/host/qemu-capabilities.js'
import { makeTemporaryDir, writeProgram } from './fake-program.js'

test('`queryCapabilities()` returns the machines, CPUs, devices and accelerators of QEMU', async () => {
  const cacheDir = makeTemporaryDir()
  const capabilities = await queryCapabilities(await findQemu({ cacheDir }), { cacheDir })
  expect(capabilities.machines).toEqual(expect.arrayContaining(['q35', 'none']))
  expect(capabilities.cpus).toEqual(expect.arrayContaining(['max', 'qemu64']))
  expect(capabilities.devices).toEqual(expect.arrayContaining(['virtio-net-pci', 'virtio-blk-pci']))
  expect(capabilities.accelerators).toContain('tcg')
  expect(capabilities.hasUserNetwork).toBe(true)
})

test('capabilities are cached, and queried again if the cache is invalid', async () => {
  const cacheDir = makeTemporaryDir()
  const qemu = await findQemu({ cacheDir })
  const first = await queryCapabilities(qemu, { cacheDir })
  const name = readdirSync(join(cacheDir, 'host')).find((file) => file.startsWith('qemu-capabilities'))
  const path = join(cacheDir, 'host', String(name))
  writeFileSync(path, readFileSync(path, 'utf8').replace('"q35"', '"forged"'))
  expect((await queryCapabilities(qemu, { cacheDir })).machines).toContain('forged')
  writeFileSync(path, '{"machines":[7]}')
  expect(await queryCapabilities(qemu, { cacheDir })).toEqual(first)
})

test('a QEMU that does not respond rejects with its stderr', async () => {
  const dir = makeTemporaryDir()
  const qemu = await findQemu({
    cacheDir: dir,
    qemu: writeProgram(
      join(dir, 'broken-qemu'),
      '[ "$1" = --version ] && exec echo "QEMU emulator version 9.9.9"; echo "libfoo.so: not found" >&2; exit 127',
    ),
  })
  await expect(queryCapabilities(qemu, { cacheDir: dir })).rejects.toMatchObject({
    code: 'QEMU_FAILED',
    message: `${qemu.path} did not report its capabilities.
  Expected: responses to QMP commands on stdout
  Got:      exit code 127

QEMU's stderr:
  | libfoo.so: not found

Fix: Run this QEMU by hand: a library that it needs may be missing, or the host may be out of memory.`,
  })
})
