import { dirname } from 'node:path'
import { newRunFolderId } from '../../common/locks/run-folder-name.js'
import { MAX_NAME_CHARS } from '../../spec/guest-name.js'
import type { MachineSpec, NetworkSpec } from '../../spec/machine-spec.js'
import type { GuestPlan } from '../machine/guest-plan.js'
import type { Machine } from '../machine/machine.js'
import type { ForkOptions } from '../power/fork-options.js'
import { newGuestName } from '../workspace/guest-name.js'

/** Position of a child among the children of a fork. */
export interface ChildPosition {
  /** Number of the child of its parent, from 0. */
  readonly index: number
  readonly count: number
  /** Unique name of the LANs of this child and the children that are forked with it. */
  readonly lan: string
}

/** Returns a new name for the LANs of a fork. */
export function newLanName(): string {
  return newRunFolderId()
}

/** Plans a child: the machine of its parent, with ports and LANs of its own. */
export function planChild(
  { spec, host, owner, workspace }: Machine,
  position: ChildPosition,
  { name, identity }: Pick<ForkOptions, 'name' | 'identity'>,
  signal: AbortSignal,
): GuestPlan {
  const isNumbered = name === undefined ? identity === 'own' : position.count > 1
  const child = describeChild(spec, nameChild(name ?? spec.name, position, isNumbered), position.lan)
  return {
    name: newGuestName(child.name),
    spec: child,
    host,
    steps: [],
    // The same file system as the parent, because children have links to its files.
    run: { ...owner.run, tmpdir: dirname(workspace.dir), standby: false, signal },
  }
}

function nameChild(name: string, { index }: ChildPosition, isNumbered: boolean): string {
  if (!isNumbered) return name
  const suffix = `-${index + 1}`
  return name.slice(0, MAX_NAME_CHARS - suffix.length) + suffix
}

/** Returns the spec of a child. Ports and sockets that the options fix are those of the parent. */
export function describeChild(spec: MachineSpec, name: string, lan: string): MachineSpec {
  const { display, debug } = spec
  const { vnc, spice } = display
  return {
    ...spec,
    name,
    forwards: spec.forwards.map((forward) => ({ ...forward, host: undefined })),
    network: moveToLan(spec.network, lan),
    furtherNetworks: spec.furtherNetworks.map((card) => moveToLan(card, lan)),
    display: {
      ...display,
      vnc: vnc && {
        ...vnc,
        display: undefined,
        socket: undefined,
        websocket: vnc.websocket !== false,
      },
      spice: spice && { ...spice, port: undefined },
    },
    debug: {
      ...debug,
      paused: undefined,
      gdb: debug.gdb === undefined ? undefined : debug.gdb !== false,
      logFile: undefined,
    },
  }
}

/** Connects a card to a LAN of the children, so that they do not disturb the parent. */
function moveToLan(card: NetworkSpec, lan: string): NetworkSpec {
  const { link } = card
  return link !== undefined && 'hub' in link ? { ...card, link: { hub: `${link.hub} ${lan}` } } : card
}
