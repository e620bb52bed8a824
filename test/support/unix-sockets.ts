import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Returns the names of the unix sockets of this host. The name of one that was made relative to a descriptor is resolved to the folder that
 * the descriptor is of.
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

/** The folder in /proc of the descriptors of the process that has a socket open, by the socket's inode. */
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
    return [] // the process has ended, or is another user's
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
