import { listDisks, readSystemDisk } from './list-disks.js'
import type { VMOptions } from './options.js'
import { listNetworks } from './resolve/resolve-network.js'

/** Whether a disk or a card is said to have a place in the firmware's boot order. */
export function hasBootIndex<VM>(options: VMOptions<VM>): boolean {
  const places = [
    readSystemDisk(options).connection,
    ...listDisks(options).map(({ disk }) => disk),
    ...listNetworks(options),
  ]
  return places.some(({ bootIndex }) => bootIndex !== undefined)
}
