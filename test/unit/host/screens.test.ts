import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { QemuBinary } from '../../../src/host/qemu-binary.js'
import { findMissingScreens } from '../../../src/host/screens.js'

/** A program that says what a QEMU says which lacks these modules. */
async function qemuWithout(): Promise<QemuBinary> {
  const folder = await mkdtemp(join(tmpdir(), 'withvm-screens-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'qemu')
  const script = `#!/bin/sh
case "$1" in
  -display) printf 'Available display backend types:\\nnone\\ncurses\\n' ;;
  -vga) printf 'none no graphic card\\nstd standard VGA (default)\\n' ;;
  -spice) echo "qemu: -spice help: There is no option group 'spice'" >&2; exit 1 ;;
esac`
  await writeFile(path, script, { mode: 0o755 })
  return { path } as QemuBinary
}

test('what a QEMU cannot show is told with the package that has it', async () => {
  const wanted = { display: 'gtk', vga: 'qxl', spice: true } as const
  expect(await findMissingScreens(await qemuWithout(), wanted, 'apt')).toEqual([
    {
      option: 'display',
      got: "'gtk', which this QEMU cannot load",
      expected: "the package qemu-system-gui to be installed, or display: 'none' with `vnc: true`",
    },
    {
      option: 'vga',
      got: "'qxl', which this QEMU cannot load",
      expected: "the package qemu-system-modules-spice to be installed, or vga: 'std'",
    },
    {
      option: 'spice',
      got: 'SPICE, which this QEMU cannot load',
      expected: 'the package qemu-system-modules-spice to be installed, or `vnc: true`',
    },
  ])
})

test('nothing is asked for what is there, or was not asked for', async () => {
  const qemu = await qemuWithout()
  expect(await findMissingScreens(qemu, { display: 'curses', vga: 'std' }, 'apt')).toEqual([])
  expect(await findMissingScreens({ path: '/nothing' } as QemuBinary, {}, 'apt')).toEqual([])
})
