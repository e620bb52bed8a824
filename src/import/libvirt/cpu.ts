import { parseNumberRange } from '../../common/number-range.js'
import { GIB, KIB, MIB, TIB } from '../../common/units.js'
import type { NumaNode } from '../../spec/options/machine.js'
import type { VMOptions } from '../../spec/options.js'
import type { Note } from './note.js'
import type { XmlElement } from './xml-element.js'

/** Reads the CPU count, topology and model. */
export function readCpu(domain: XmlElement, note: Note): VMOptions {
  const vcpu = domain.child('vcpu')
  const max = count(vcpu?.text)
  const current = count(vcpu?.attribute('current'))
  const cpu = domain.child('cpu')
  const topology = cpu?.child('topology')
  const parts = Object.fromEntries(
    (['sockets', 'dies', 'cores', 'threads'] as const).flatMap((part) => {
      const number = count(topology?.attribute(part))
      return number === undefined || (part === 'dies' && number === 1) ? [] : [[part, number]]
    }),
  )
  const isPlain = Object.keys(parts).length === 0 && (current === undefined || current === max)
  const cpus = isPlain
    ? max
    : { count: current ?? max, ...parts, ...(current === undefined ? {} : { maxcpus: max }) }
  return { cpus, cpu: cpu && readModel(cpu, note) } as VMOptions
}

/** Reads the CPU model. Undefined for the host CPU, which is the default. */
function readModel(cpu: XmlElement, note: Note): string | undefined {
  const mode = cpu.attribute('mode') ?? 'custom'
  const model = cpu.child('model')
  const features = cpu.children('feature').flatMap((feature) => {
    const name = feature.attribute('name')
    const policy = feature.attribute('policy') ?? 'require'
    if (name === undefined) return []
    return [`${policy === 'disable' || policy === 'forbid' ? '-' : '+'}${name}`]
  })
  if (mode === 'custom' && model !== undefined) return [model.text, ...features].join(',')
  if (features.length > 0) {
    note(
      `<cpu mode="${mode}"> with ${features.join(', ')}`,
      'cpu/feature',
      "specify a model in `cpu`, such as 'max,-vmx': the default model depends on the accelerator",
    )
  }
  return undefined
}

/** Reads the RAM, in KiB unless a unit is given, and the maximum for hot-plug. */
export function readMemory(domain: XmlElement, note: Note): VMOptions {
  const kib = readAmount(domain.child('memory'))
  const currentKib = readAmount(domain.child('currentMemory'))
  if (currentKib !== undefined && currentKib !== kib) {
    note(
      `<currentMemory>${currentKib}</currentMemory>`,
      'currentMemory',
      'the guest starts with all of its memory',
    )
  }
  const max = domain.child('maxMemory')
  const maxKib = readAmount(max)
  if (kib === undefined) return {}
  if (maxKib === undefined || maxKib <= kib) return { memory: toText(kib) }
  const slots = count(max?.attribute('slots'))
  return { memory: { size: toText(kib), max: toText(maxKib), ...(slots === undefined ? {} : { slots }) } }
}

export function readNuma(domain: XmlElement): VMOptions {
  const cells = domain.child('cpu/numa')?.children('cell') ?? []
  if (cells.length === 0) return {}
  const nodes = cells.map((cell, index) => {
    const cpus = parseCpus(cell.attribute('cpus') ?? '')
    const kib = readAmount(cell, cell.attribute('memory')) ?? 0
    const node: NumaNode = { memory: toText(kib), ...(cpus.length === 0 ? {} : { cpus }) }
    return { id: count(cell.attribute('id')) ?? index, node }
  })
  return { numa: nodes.sort((a, b) => a.id - b.id).map(({ node }) => node) }
}

/** Units of libvirt, in bytes. */
const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1000,
  k: KIB,
  KiB: KIB,
  MB: 1000 ** 2,
  M: MIB,
  MiB: MIB,
  GB: 1000 ** 3,
  G: GIB,
  GiB: GIB,
  TB: 1000 ** 4,
  T: TIB,
  TiB: TIB,
}

function readAmount(element: XmlElement | undefined, value = element?.text): number | undefined {
  const amount = Number(value)
  const unitBytes = UNITS[element?.attribute('unit') ?? 'KiB']
  return value === undefined || value === '' || Number.isNaN(amount) || unitBytes === undefined
    ? undefined
    : Math.ceil((amount * unitBytes) / KIB)
}

function toText(kib: number): string {
  const bytes = kib * KIB
  if (bytes % GIB === 0) return `${bytes / GIB}G`
  return bytes % MIB === 0 ? `${bytes / MIB}M` : `${kib}K`
}

/** Parses `0-2,^1,7`, in which `^` excludes a CPU. */
function parseCpus(text: string): number[] {
  const cpus = new Set<number>()
  for (const part of text.split(',').filter((word) => word !== '')) {
    for (const cpu of parseNumberRange(part.replace('^', '')))
      part.startsWith('^') ? cpus.delete(cpu) : cpus.add(cpu)
  }
  return [...cpus]
}

export function count(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}
