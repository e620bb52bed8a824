import type { MachineSpec } from '../spec/machine-spec.js'
import type { VMOptions } from '../spec/options.js'

interface Row<VM> {
  readonly applies: (spec: MachineSpec<VM>, options: VMOptions<VM>) => boolean
  readonly reason: string
}

/** What speaks against going on from a guest that was booted before. The first that applies counts. */
const ROWS: readonly Row<never>[] = [
  { applies: (_, { start }) => start === 'cold', reason: "start: 'cold'" },
  {
    applies: ({ image }) => image === undefined,
    reason: 'there is no image, only a kernel',
  },
  {
    applies: ({ image }) => image?.traits.hasResident !== true || image.identity === undefined,
    reason: 'nothing in this image can make each of its clones a machine of its own',
  },
  {
    applies: ({ ready }) => ready === 'none',
    reason: "with ready: 'none' the test is to see the guest boot",
  },
  {
    applies: ({ ready }) => typeof ready === 'function' || ready instanceof RegExp,
    reason: 'with a `ready` of its own the test is to see the guest boot',
  },
  {
    applies: ({ bootOrder, network }) => bootOrder !== undefined || network.tftp !== undefined,
    reason: 'a boot order and network boots are about booting',
  },
  { applies: (_, { kernel }) => kernel !== undefined, reason: 'a kernel of its own is about booting' },
  {
    applies: ({ ssh }) => ssh === undefined || ssh.login !== undefined,
    reason: 'a clone is given the keys of its run, and `ssh` says something else',
  },
  {
    applies: ({ qemuArgs }) => qemuArgs.length > 0,
    reason: '`qemuArgs` may name files and devices that cannot be shared',
  },
]

/** Why this guest is to be booted from its power button; undefined where it can go on from one that was booted before. */
export function findColdReason<VM>(spec: MachineSpec<VM>, options: VMOptions<VM>): string | undefined {
  const rows = ROWS as readonly unknown[] as readonly Row<VM>[]
  return rows.find(({ applies }) => applies(spec, options))?.reason
}
