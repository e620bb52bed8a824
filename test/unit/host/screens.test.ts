import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { QemuBinary } from '../../../src/host/qemu-binary.js'
import { findMissingScreens } from '../../../src/host/screens.js'

/** Creates a fake QEMU whose help lists only a few display modules. */
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

test('an unsupported display option is reported with the package that contains its module', async () => {
  const wanted = { display: 'gtk', vga: 'qxl', spice: true } as const
  expect(await findMissingScreens(await qemuWithout(), wanted, 'apt')).toEqual([
    {
      option: 'display',
      got: "'gtk', which this QEMU cannot load",
      expected: "QEMU with the package qemu-system-gui, or display: 'none' with `vnc: true`",
    },
    {
      option: 'vga',
      got: "'qxl', which this QEMU cannot load",
      expected: "QEMU with the package qemu-system-modules-spice, or vga: 'std'",
    },
    {
      option: 'spice',
      got: 'SPICE, which this QEMU cannot load',
      expected: 'QEMU with the package qemu-system-modules-spice, or `vnc: true`',
    },
  ])
})

test('supported display options are not reported, and QEMU is not run without display options', async () => {
  const qemu = await qemuWithout()
  expect(await findMissingScreens(qemu, { display: 'curses', vga: 'std' }, 'apt')).toEqual([])
  expect(await findMissingScreens({ path: '/nothing' } as QemuBinary, {}, 'apt')).toEqual([])
})
