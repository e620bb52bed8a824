import { expect, test } from 'vitest'
import { buildQemuCommand } from '../../../../src/qemu/argv/build-command.js'
import { buildWatchdogTable } from '../../../../src/qemu/argv/watchdog.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { SAMPLE_IMAGE, SAMPLE_WIRING } from '../../../support/sample-machine.js'

const image = { ...SAMPLE_IMAGE, traits: { ...SAMPLE_IMAGE.traits, watchdog: 'ib700' } } as const

const build = (options: object, base = SAMPLE_IMAGE) =>
  buildQemuCommand(resolveSpec(options, base), {
    ...SAMPLE_WIRING,
    watchdogTable: 'watchdog.wdat',
  }).args.join(' ')

test('the default watchdog model is the one supported by the kernel of the image', () => {
  expect(build({ watchdog: true })).toContain('-device i6300esb -action watchdog=reset')
  expect(build({ watchdog: true }, image)).toContain(
    '-device ib700 -action watchdog=reset -acpitable sig=WDAT,rev=1,data=watchdog.wdat',
  )
  expect(build({ watchdog: { model: 'i6300esb' } }, image)).toContain('-device i6300esb ')
  expect(build({}, image)).not.toContain('-acpitable')
})

test('the watchdog table has the layout of the WDAT specification', () => {
  const table = buildWatchdogTable()
  expect(table).toHaveLength(32 + 4 * 24)
  expect(table.readUInt32LE(28)).toBe(4)
  const entries = [0, 1, 2, 3].map((index) => table.subarray(32 + index * 24, 56 + index * 24))
  expect(entries.map((entry) => [entry[0], entry[1], Number(entry.readBigUInt64LE(8)).toString(16)])).toEqual(
    [
      [1, 2, '443'],
      [9, 2, '443'],
      [11, 2, '441'],
      [6, 3, '441'],
    ],
  )
})
