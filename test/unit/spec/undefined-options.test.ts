import { expect, test } from 'vitest'
import type { z } from 'zod'
import { isRecord } from '../../../src/common/is-record.js'
import { buildQemuCommand } from '../../../src/qemu/argv/build-command.js'
import type { MachineSpec } from '../../../src/spec/machine-spec.js'
import { optionSchema } from '../../../src/spec/option-schema.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { findOptionProblems } from '../../../src/spec/validate-options.js'
import { SAMPLE_IMAGE, SAMPLE_WIRING } from '../../support/sample-machine.js'

const SAMPLE_DISK = { path: '/disk', format: 'raw' } as const

interface Definition {
  readonly innerType?: z.ZodType
  readonly element?: z.ZodType
  readonly options?: readonly z.ZodType[]
  readonly shape?: Readonly<Record<string, z.ZodType>>
}

/** Adds every missing option to a value, as `undefined`. Counts them in `added`. */
function addUndefined(schema: z.ZodType, value: unknown, added: string[]): unknown {
  const { innerType, element, options, shape } = (schema as unknown as { readonly def: Definition }).def
  if (innerType !== undefined) return addUndefined(innerType, value, added)
  if (options !== undefined) {
    return options.reduce((filled, option) => addUndefined(option, filled, added), value)
  }
  if (Array.isArray(value)) {
    return element === undefined ? value : value.map((item) => addUndefined(element, item, added))
  }
  if (shape === undefined || !isRecord(value) || !Object.keys(value).every((name) => name in shape)) {
    return value
  }
  const entries = Object.entries(shape).map(([name, inner]) => {
    if (!(name in value)) added.push(name)
    return [name, name in value ? addUndefined(inner, value[name], added) : undefined]
  })
  return Object.fromEntries(entries)
}

test.each<[string, VMOptions, number]>([
  ['of a guest', {}, 60],
  ['of disks and networks', { disks: [{ size: '1G' }], network: [{ internet: true }] }, 70],
  ['of a machine', { memory: { size: '1G' }, cpus: { count: 2 }, smbios: { serial: 'a' }, rtc: {} }, 70],
  ['of displays', { vnc: { display: 1 }, spice: { port: 5901 }, vga: 'std' }, 60],
  ['of a start', { ssh: { user: 'a' }, timeouts: { start: '1m' }, limits: { disk: '1G' } }, 65],
  ['of a TPM', { tpm: { version: '2.0' } }, 60],
  ['of services', { hostfwd: [{ guest: 80 }], ports: [{ name: 'a' }], balloon: true }, 60],
])('options %s that are `undefined` have their defaults', (_, options, count) => {
  const added: string[] = []
  const filled = addUndefined(optionSchema, options, added) as VMOptions
  expect(added.length).toBeGreaterThan(count)
  expect(findOptionProblems(filled)).toEqual(findOptionProblems(options))
  const [spec, expected] = [filled, options].map((one) => resolveSpec(one, SAMPLE_IMAGE, [SAMPLE_DISK]))
  expect(spec).toEqual(expected)
  expect(buildQemuCommand(spec as MachineSpec, SAMPLE_WIRING).args).toEqual(
    buildQemuCommand(expected as MachineSpec, SAMPLE_WIRING).args,
  )
})
