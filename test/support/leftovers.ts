import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { ownerOfFolder } from '../../src/common/locks/run-folder-name.js'
import { listUnixSockets } from './unix-sockets.js'

/** Traces of guests on a host: folders, QEMU processes, locks and listening sockets. */
export interface Leftovers {
  readonly folders: readonly string[]
  readonly processes: readonly string[]
  readonly sockets: readonly string[]
}

/** Finds the traces of all runs below `base`, of any process. */
export function findLeftovers(base: string = tmpdir()): Leftovers {
  const folders = readdirSync(base).filter((name) => ownerOfFolder(name) !== undefined)
  const sockets = listUnixSockets().filter(
    (path) => folders.some((name) => path.includes(name)) || path.startsWith(`${base}/withvm-`),
  )
  return { folders, processes: findQemus(base), sockets }
}

/** Lists the QEMU processes whose command lines contain a folder below `base`. */
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
