import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { ownerOfFolder } from '../../src/common/locks/run-folder-name.js'
import { listUnixSockets } from './unix-sockets.js'

/** What guests leave on a host while they live: folders, QEMU processes, locks and listening sockets. */
export interface Leftovers {
  readonly folders: readonly string[]
  readonly processes: readonly string[]
  readonly sockets: readonly string[]
}

/** Finds all that belongs to runs below `base`, of whichever process. */
export function findLeftovers(base: string = tmpdir()): Leftovers {
  const folders = readdirSync(base).filter((name) => ownerOfFolder(name) !== undefined)
  const sockets = listUnixSockets().filter(
    (path) => folders.some((name) => path.includes(name)) || path.startsWith(`${base}/withvm-`),
  )
  return { folders, processes: findQemus(base), sockets }
}

/** The QEMU processes whose command line names a folder below `base`. */
function findQemus(base: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return commandLine.includes('qemu') && commandLine.includes(`${base}/withvm-`)
      } catch {
        return false
      }
    })
}

export const NOTHING: Leftovers = { folders: [], processes: [], sockets: [] }
