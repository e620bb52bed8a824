import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Lists the names of the unix sockets of this host. A name relative to a descriptor is resolved to the folder of the
 * descriptor.
 */
export function listUnixSockets(): string[] {
  const sockets = readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .map((line) => line.split(/\s+/))
    .map(([, , , , , , inode = '', path = '']) => ({ inode, path }))
  const owners = sockets.some(({ path }) => FROM_DESCRIPTOR.test(path)) ? findOwners() : undefined
  return sockets.map(({ inode, path }) => {
    const [, descriptor = '', name = ''] = FROM_DESCRIPTOR.exec(path) ?? []
    const folder = readLink(join(`${owners?.get(inode)}`, descriptor))
    return folder === undefined || name === '' ? path : join(folder, name)
  })
}

const FROM_DESCRIPTOR = /^\/proc\/self\/fd\/(\d+)\/(.+)$/

/** Maps the inodes of sockets to the descriptor folders in /proc of the processes that have them open. */
function findOwners(): Map<string, string> {
  const owners = new Map<string, string>()
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const descriptors = `/proc/${pid}/fd`
    for (const descriptor of readNames(descriptors)) {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readLink(join(descriptors, descriptor)) ?? '') ?? []
      if (inode !== undefined) owners.set(inode, descriptors)
    }
  }
  return owners
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return [] // the process has ended or belongs to another user
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
