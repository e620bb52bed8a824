import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { launchVM } from 'withvm'
import { expect, test } from 'withvm/vitest'
import { decodePng } from '../../../src/vm/evidence/picture.js'
import { writeDisplayDisk } from '../../support/display-disk.js'
import { failureOf } from '../../support/failure-of.js'

const folder = mkdtempSync(join(tmpdir(), 'withvm-cards-'))
const hda = await writeDisplayDisk(join(folder, 'disk.img'), 'Choose a language')
afterAll(() => rm(folder, { recursive: true }))

interface PciBus {
  readonly devices: ReadonlyArray<{ readonly id: { readonly vendor: number; readonly device: number } }>
}

test.each([
  ['std', 0x1234, 0x1111],
  ['cirrus', 0x1013, 0x00b8],
  ['vmware', 0x15ad, 0x0405],
  ['qxl', 0x1b36, 0x0100],
  ['virtio', 0x1af4, 0x1050],
] as const)('a guest with the display card %s shows its output', async (vga, vendor, device) => {
  await using vm = await launchVM({ hda, vga, memory: '64M', ssh: false, log: () => {} })
  await expect(vm).toShowText('Choose')
  const [bus] = (await vm.qmp.execute('query-pci')) as unknown as readonly PciBus[]
  expect(bus?.devices.map(({ id }) => id)).toContainEqual(expect.objectContaining({ vendor, device }))
  // VGA text mode, 80 x 25, in two colors.
  const { width, height, data } = await decodePng(await vm.screenshot())
  expect([width, height]).toEqual([720, 400])
  const colors = new Set(Array.from({ length: data.length / 4 }, (_, pixel) => data.readUInt32BE(pixel * 4)))
  expect(colors.size).toBe(2)
})

test('a start that times out waiting for the console hints that the firmware prints on the display', async () => {
  const start = {
    hda,
    vga: 'std',
    memory: '64M',
    ssh: false,
    ready: /Choose/,
    timeouts: { start: '2s' },
    log: () => {},
  } as const
  const { message } = await failureOf(launchVM(start))
  expect(message).toContain('with a display card, firmware and boot loaders print on the display')
})
