import { type CpioEntry, packCpio } from '../../src/archive/cpio.js'
import type { InitStep } from './init-steps.js'

/** Module in the initrd. Modules are loaded in order. */
export interface BootModule {
  readonly fileName: string
  readonly content: Buffer
}

/** Content of an initrd, independent of its init program. */
export interface InitrdPlan {
  readonly modules: readonly BootModule[]
  /** Device of the root file system (ext4), for example `/dev/vda`. */
  readonly rootDevice: string
  /** Steps after the root is mounted on `/root` and devices are in `/root/dev`. @default none */
  readonly prepareRoot?: readonly InitStep[]
}

/** Console messages at the start, and if the root file system is unusable. */
export const INIT_TEXTS = {
  greeting: 'withvm: init',
  noRoot: (device: string) => `withvm: the root file system on ${device} cannot be mounted`,
  noInit: (device: string) => `withvm: /sbin/init on ${device} cannot be started`,
} as const

/**
 * Packs `/init` and the modules in `/m`. The archive is not compressed: an emulated processor
 * spends more time on decompression than on reading.
 */
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
