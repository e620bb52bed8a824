import type { FrozenLayers } from '../../qemu/command.js'
import type { MachineIdentity } from './identity-values.js'

/** Disk of a guest at the moment of a fork. */
export interface ForkedDisk {
  /** File that each child copies as its own overlay. */
  readonly overlay: string
  /** Layers below that overlay, with the names that they have in every folder. */
  readonly layers: FrozenLayers
}

/** State of a running guest that its children continue from, besides RAM and devices. */
export interface ForkedState {
  /**
   * Folder with the layers of all disks. Children have links to them, so any guest may end first.
   */
  readonly folder: string
  /** If true, `memory` and `state` of the snapshot are in `folder`, and a child links them. */
  readonly isRamInFolder: boolean
  /** Identity of the parent. */
  readonly identity: MachineIdentity
  /** Identity of the children: their own, or that of the parent. */
  readonly identityOfChildren: 'own' | 'same'
  /**
   * If true, the SSH server reads its host key for each connection, as in a clone that has not
   * rebooted.
   */
  readonly readsHostKey: boolean
  /**
   * The system disk, then the further disks of the spec; undefined for a disk without an overlay.
   */
  readonly disks: ReadonlyArray<ForkedDisk | undefined>
  /** Difference between the clocks of the parent and of the host, in milliseconds. */
  readonly clockOffsetMs: number
  /** Console position at which the latest boot begins. */
  readonly bootOffset: number
  /** Host key that the parent's SSH server presented, if withvm did not create it. */
  readonly hostKey: Buffer | undefined
}
