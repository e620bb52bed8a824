import { KIB } from '../../common/units.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { HostNodes } from '../../spec/options/machine.js'
import type { Wiring } from '../command.js'
import { joinOption, type OptionValues } from './join-option.js'

/** Id of the memory backend of the RAM. */
export const RAM_ID = 'ram'

export function memoryArgs(
  { memoryBytes, memoryGrowth, numa }: MachineSpec,
  { memoryFiles }: Pick<Wiring, 'memoryFiles'> = {},
): string[] {
  const growth =
    memoryGrowth === undefined ? {} : { slots: memoryGrowth.slots, maxmem: kibibytes(memoryGrowth.maxBytes) }
  return [
    '-m',
    joinOption('', { size: kibibytes(memoryBytes), ...growth }),
    ...numa.flatMap(({ memoryBytes: bytes, cpus, ...host }, node) => [
      '-object',
      memoryBackend({ id: `node${node}`, size: kibibytes(bytes) }, node, memoryFiles) + hostNodes(host),
      '-numa',
      joinOption('node', { nodeid: node, memdev: `node${node}` }) +
        cpus.map((cpu) => `,cpus=${cpu}`).join(''),
    ]),
  ]
}

/** Returns the memory backend of the RAM. With NUMA, each node has its own. */
export function memoryFileArgs(spec: MachineSpec, { memoryFiles }: Pick<Wiring, 'memoryFiles'>): string[] {
  const { memoryBytes, memoryBacking, numa } = spec
  if (memoryFiles === undefined) return ownMemoryArgs(spec)
  if (numa.length > 0) return []
  const prealloc = memoryBacking.preallocate === true ? 'on' : undefined
  const values = { id: RAM_ID, size: kibibytes(memoryBytes), prealloc }
  return ['-object', memoryBackend(values, 0, memoryFiles)]
}

/**
 * Returns a memory backend. With `share=off`, written pages are private, so many guests can share
 * one file. QEMU 7.2 has no offset in a file (8.1 has), so each backend has its own file.
 */
function memoryBackend(values: OptionValues, index: number, files: Wiring['memoryFiles']): string {
  const { id, size, ...more } = values
  if (files === undefined) return joinOption('memory-backend-ram', values)
  const share = files.isWritten ? 'on' : 'off'
  return joinOption('memory-backend-file', { id, 'mem-path': files.paths[index], size, share, ...more })
}

/** Returns true if the options require an explicit memory backend for the RAM. */
export function hasOwnMemory({ memoryBacking: { hugePages, preallocate, hostNodes } }: MachineSpec): boolean {
  return Boolean(hugePages) || preallocate === true || hostNodes !== undefined
}

function ownMemoryArgs(spec: MachineSpec): string[] {
  const { memoryBytes, memoryBacking } = spec
  if (!hasOwnMemory(spec)) return []
  const { hugePages, preallocate } = memoryBacking
  const isHuge = Boolean(hugePages)
  const values = {
    id: RAM_ID,
    size: kibibytes(memoryBytes),
    prealloc: preallocate === true ? 'on' : undefined,
    hugetlb: isHuge ? 'on' : undefined,
    hugetlbsize: isHuge ? (hugePages === '1G' ? '1G' : '2M') : undefined,
  }
  const backend = isHuge ? 'memory-backend-memfd' : 'memory-backend-ram'
  return ['-object', joinOption(backend, values) + hostNodes(memoryBacking)]
}

/** Returns the NUMA nodes of the host for a backend. QEMU's syntax of a list is a repeated key. */
function hostNodes({ hostNodes: nodes, policy = 'bind' }: HostNodes): string {
  return nodes === undefined ? '' : `${nodes.map((node) => `,host-nodes=${node}`).join('')},policy=${policy}`
}

/** Returns the arguments that lock the memory of QEMU. */
export function lockArgs({ memoryBacking: { lock } }: MachineSpec): string[] {
  return lock === true ? ['-overcommit', 'mem-lock=on'] : []
}

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / KIB)}k`
}
