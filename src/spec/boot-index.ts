import { listDisks, readSystemDisk } from './list-disks.js'
import type { VMOptions } from './options.js'
import { listNetworks } from './resolve/resolve-network.js'

/** Returns true if a disk or network card has a boot index. */
export function hasBootIndex(options: VMOptions): boolean {
  const devices = [
    readSystemDisk(options).connection,
    ...listDisks(options).map(({ disk }) => disk),
    ...listNetworks(options),
  ]
  return devices.some(({ bootIndex }) => bootIndex !== undefined)
}
