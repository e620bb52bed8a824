import { z } from 'zod'
import { ARCHITECTURES, DEBIAN_NAMES } from '../architectures.js'
import type { ArchOption } from '../options/machine.js'
import {
  count,
  flag,
  guestMemory,
  isMemorySize,
  isText,
  memorySize,
  oneOf,
  required,
  rule,
  textLike,
} from './rules.js'

const cpuCount = () => count(1, 255)

const topology = z.strictObject({
  count: cpuCount(),
  sockets: cpuCount(),
  dies: cpuCount(),
  cores: cpuCount(),
  threads: cpuCount(),
  maxcpus: cpuCount(),
})

const hostNodes = {
  hostNodes: rule<readonly number[]>('a list of host nodes such as [0, 1]', (value) => {
    const isNode = (node: unknown) =>
      Number.isInteger(node) && (node as number) >= 0 && (node as number) < 128
    return Array.isArray(value) && value.length > 0 && value.every(isNode)
  }),
  policy: oneOf('bind', 'preferred', 'interleave'),
}

const memory = z.strictObject({
  ...hostNodes,
  size: guestMemory(),
  max: memorySize(),
  slots: count(1, 255),
  hugePages: rule<boolean | '2M' | '1G'>("true, false, '2M' or '1G'", (value) => {
    return [true, false, '2M', '1G'].includes(value as boolean)
  }),
  preallocate: flag(),
  merge: flag(),
  lock: flag(),
})

const numaNode = z.strictObject({
  ...hostNodes,
  memory: required<number | string>("an amount of memory such as '512M'", isMemorySize),
  cpus: rule<readonly number[]>('a list of CPUs such as [0, 1]', (value) => {
    return Array.isArray(value) && value.every((cpu) => Number.isInteger(cpu) && cpu >= 0 && cpu < 255)
  }),
})

const identityText = () =>
  rule<string>('a string of at most 64 characters on one line', (value) => {
    return isText(value) && /^.{1,64}$/.test(value)
  })

const smbios = z.strictObject({
  manufacturer: identityText(),
  product: identityText(),
  version: identityText(),
  serial: identityText(),
  sku: identityText(),
  family: identityText(),
  uuid: textLike(
    "a UUID such as '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162'",
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  ),
})

const rtc = z.strictObject({
  base: rule<string>("'utc', 'localtime', or a date such as '2030-01-31T12:00:00'", (value) => {
    return isText(value) && (value === 'utc' || value === 'localtime' || isDate(value))
  }),
  clock: oneOf('host', 'rt', 'vm'),
})

/** QEMU accepts only this format and a date without a time. */
function isDate(value: string): boolean {
  return /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2})?$/.test(value) && !Number.isNaN(Date.parse(`${value}`))
}

function archRule() {
  const [names, debian] = [Object.keys(ARCHITECTURES), Object.keys(DEBIAN_NAMES)]
  const list = (values: readonly string[]) => values.map((name) => `'${name}'`).join(', ')
  return rule<ArchOption>(`one of ${list(names)}, or of Debian's names ${list(debian)}`, (value) => {
    return [...names, ...debian].includes(value as string)
  })
}

/** Schema of the options for machine, CPU, memory and clock. */
export const machineRules = {
  arch: archRule(),
  accel: oneOf('auto', 'kvm', 'tcg'),
  machine: textLike("a machine type, such as 'pc' or 'q35'", /^[\w.-]+$/),
  cpu: textLike("a CPU model, such as 'max' or 'qemu64,+rdrand'", /^[\w.,+=-]+$/),
  cpus: z.union([cpuCount(), topology]).optional(),
  memory: z.union([guestMemory(), memory]).optional(),
  numa: z.array(numaNode, { error: "a list such as [{ memory: '128M', cpus: [0] }]" }).optional(),
  smbios: smbios.optional(),
  rtc: rtc.optional(),
}
