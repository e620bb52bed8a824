import type { MachineSnapshot } from '../machine/guest-plan.js'

/** Files with the RAM and the devices of a guest. */
export type SavedRam = Pick<MachineSnapshot, 'memory' | 'state' | 'isRamInState'>

/** Way to save the RAM and the devices of a running guest. */
export interface SaveMethod {
  readonly name: 'pages' | 'migration'
  /** Saves what changes as soon as the guest runs again. */
  saveWhilePaused(): Promise<void>
  /** Completes the files while the guest runs. */
  complete(): Promise<SavedRam>
  /** Releases everything except the files in the folder of the fork. */
  dispose(): Promise<void>
}

/** Time limit of QEMU's part in a save, in milliseconds. The host's disk may be busy. */
export const SAVE_MS = 60_000
