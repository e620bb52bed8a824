import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Wiring } from '../command.js'
import { joinOption } from './join-option.js'

/** The name of the RAM where it is an object of its own. */
export const RAM_ID = 'ram'

export function memoryArgs({ memoryBytes, memoryGrowth, numa }: MachineSpec): string[] {
  const growth =
    memoryGrowth === undefined ? {} : { slots: memoryGrowth.slots, maxmem: kibibytes(memoryGrowth.mostBytes) }
  return [
    '-m',
    joinOption('', { size: kibibytes(memoryBytes), ...growth }),
    ...numa.flatMap(({ memoryBytes: bytes, cpus }, node) => [
      '-object',
      joinOption('memory-backend-ram', { id: `node${node}`, size: kibibytes(bytes) }),
      '-numa',
      joinOption('node', { nodeid: node, memdev: `node${node}` }) +
        cpus.map((cpu) => `,cpus=${cpu}`).join(''),
    ]),
  ]
}

/** What is written only for this guest is copied page by page, so that many guests share one file. */
export function memoryFileArgs(
  { memoryBytes }: MachineSpec,
  { memoryFile }: Pick<Wiring, 'memoryFile'>,
): string[] {
  if (memoryFile === undefined) return []
  const { path, isWritten } = memoryFile
  const size = kibibytes(memoryBytes)
  const share = isWritten ? 'on' : 'off'
  return ['-object', joinOption('memory-backend-file', { id: RAM_ID, 'mem-path': path, size, share })]
}

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)}k`
}
