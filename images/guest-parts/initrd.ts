import { type CpioEntry, packCpio } from '../../src/archive/cpio.js'
import type { InitStep } from './init-steps.js'

/** A module of the RAM disk: in the order in which it is loaded. */
export interface BootModule {
  readonly fileName: string
  readonly content: Buffer
}

/** What an initial RAM disk does, by whichever program. */
export interface InitrdPlan {
  readonly modules: readonly BootModule[]
  /** The device that has the root file system, an ext4, as `/dev/vda`. */
  readonly rootDevice: string
  /** What is done once that is mounted on `/root`, and devices are in `/root/dev`. @default nothing */
  readonly prepareRoot?: readonly InitStep[]
}

/** What is said first, and when the root cannot be gone on with. */
export const INIT_TEXTS = {
  greeting: 'withvm: init',
  noRoot: (device: string) => `withvm: the root file system on ${device} cannot be mounted`,
  noInit: (device: string) => `withvm: /sbin/init on ${device} cannot be started`,
} as const

/** Packs `/init` with the modules, in `/m`. It is not compressed: unpacking costs an emulated processor more than reading. */
export function packInit(
  init: Uint8Array,
  modules: readonly BootModule[],
  more: readonly CpioEntry[] = [],
): Buffer {
  const dirs = ['dev', 'root', 'm'].map((path): CpioEntry => ({ path, mode: 0o040755 }))
  return packCpio([
    ...dirs,
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'init', mode: 0o100755, content: init },
    ...modules.map(
      ({ fileName, content }): CpioEntry => ({ path: `m/${fileName}`, mode: 0o100644, content }),
    ),
    ...more,
  ])
}
